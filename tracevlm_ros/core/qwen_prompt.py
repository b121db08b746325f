"""One turn of Qwen's chat form about a still and a trace, as a robot lays it out.

    <|im_start|>system\\n SYSTEM <|im_end|>\\n <|im_start|>user\\n
    <|vision_start|> image tokens <|vision_end|> <traj> keypoints </traj> REQUEST <|im_end|>\\n
    <|im_start|>assistant\\n

Image tokens are the TVP-enhanced visual tokens in raster order; each valid keypoint has the row of
its placeholder plus its gated feature. Everything before REQUEST is the same for every question.
Without a trace the ``<traj>`` section is left out, and image tokens are those of the encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import SPECIAL

SYSTEM = "You are a helpful assistant."
CAPTION_REQUEST = "Describe what the trace points to."
"""Asked where the person asked nothing."""
LOCATE_REQUEST = "Draw as <traj>(x,y),...</traj>, coordinates 0 to 999, the trace of {}"
"""Asked for the trace of what a text describes."""
TOKEN_TEXTS: dict[str, str] = {
    "end_of_text": "<|endoftext|>",
    "turn_start": "<|im_start|>",
    "turn_end": "<|im_end|>",
    "vision_start": SPECIAL.vision_start,
    "vision_end": SPECIAL.vision_end,
    "image_pad": SPECIAL.image_pad,
    "traj_start": SPECIAL.traj_start,
    "traj_end": SPECIAL.traj_end,
    "traj_pad": SPECIAL.traj_pad,
    "seg": SPECIAL.seg,
    **{f"codebook_{index}": text for index, text in enumerate(SPECIAL.codebook)},
}
"""Name of a control token here -> its text in the tokenizer."""
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenLayout:
    """Ids of the control tokens, and the grid (rows, columns) of image tokens."""

    grid_hw: tuple[int, int]
    end_of_text: int
    turn_start: int
    turn_end: int
    vision_start: int
    vision_end: int
    image_pad: int
    traj_start: int
    traj_end: int
    traj_pad: int
    seg: int
    codebook: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.grid_hw) < 1:
            raise ConfigError(f"grid_hw is {self.grid_hw}; both sides must be at least 1")

    @classmethod
    def from_ids(cls, ids: Mapping[str, int], grid_hw: tuple[int, int]) -> "QwenLayout":
        """``ids``: name of ``TOKEN_TEXTS`` -> id. ConfigError when one is missing."""
        missing = [name for name in TOKEN_TEXTS if ids.get(name) is None]
        if missing:
            raise ConfigError(
                f"the tokenizer lacks '{TOKEN_TEXTS[missing[0]]}' ({missing[0]}); re-export"
            )
        singles = {item.name: ids[item.name] for item in fields(cls)[1:-1]}
        book = tuple(ids[f"codebook_{index}"] for index in range(len(SPECIAL.codebook)))
        return cls(grid_hw=grid_hw, codebook=book, **singles)


class QwenTurn(NamedTuple):
    """``ids`` (L,) and rope ids (3, L) int64; the columns of the first image token and of the
    first keypoint; how many tokens come before the request; the rope id of the answer."""

    ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    first_image: int
    first_keypoint: int
    prefix: int
    next_position: int


def lay_out_turn(
    layout: QwenLayout, encode: Encode, keypoints: int, request: str, system: str = SYSTEM
) -> QwenTurn:
    """``encode`` turns plain text into ids, control tokens never among them; 0 ``keypoints``: no
    trace section."""
    start, end = layout.turn_start, layout.turn_end
    newline = list(encode("\n"))
    head = [start, *encode(f"system\n{system}"), end, *newline, start, *encode("user\n")]
    rows, columns = layout.grid_hw
    image = [layout.image_pad] * (rows * columns)
    pads = [layout.traj_pad] * keypoints
    trace = [layout.traj_start, *pads, layout.traj_end] if keypoints else []
    tail = [*encode(request), end, *newline, start, *encode("assistant\n")]
    before = [*head, layout.vision_start]
    after = [layout.vision_end, *trace, *tail]
    position_ids, following = _positions(layout.grid_hw, len(before), len(after))
    return QwenTurn(
        np.array([*before, *image, *after], dtype=np.int64),
        position_ids,
        first_image=len(before),
        first_keypoint=len(before) + len(image) + 2,
        prefix=len(before) + len(image) + 1 + len(trace),
        next_position=following,
    )


def lay_out_follow_up(layout: QwenLayout, encode: Encode, request: str) -> list[int]:
    """Ids of a further turn behind an answer that has not been ended; text alone."""
    start, end = layout.turn_start, layout.turn_end
    newline = list(encode("\n"))
    user = [start, *encode("user\n"), *encode(request), end, *newline]
    return [end, *newline, *user, start, *encode("assistant\n")]


def _positions(grid_hw: tuple[int, int], before: int, after: int) -> tuple[NDArray[np.int64], int]:
    """Text counts on along time, row and column; the image spans its grid from where text ends."""
    rows, columns = grid_hw
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    image = before + np.stack([np.zeros_like(row), row, column])
    first = before + max(rows, columns)
    text = [np.tile(np.arange(a, b, dtype=np.int64), (3, 1))
            for a, b in ((0, before), (first, first + after))]  # fmt: skip
    return np.concatenate([text[0], image, text[1]], axis=1), first + after
