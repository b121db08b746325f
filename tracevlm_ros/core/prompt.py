"""The prompt of one trace, laid out the same way in training and on the robot.

    <|vision_start|> image tokens <|vision_end|> <traj> trace tokens </traj>
    task [question] <|answer|>

Image tokens are the TVP-enhanced visual tokens in raster order, trace tokens the refined trace
features of the valid keypoints. The model answers with text, and for a caption with ``[SEG]``;
then ``[SEG]`` and the six codebook tokens are read in one pass, and the last six hidden states
prompt the pixel decoder. Without a trace the ``<traj>`` section is left out, and image tokens are
those of the encoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import SPECIAL, special_tokens

LOCATE_QUESTION = "trace of {}"
"""Asked with the task ``locate`` for the trace of what a text describes."""
TRACE_TOKENS = 112
"""New tokens that an answer with a trace may have: digits are tokens of their own, so that a
keypoint takes 10 to 12 and the usual six about 75."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptLayout:
    """Token ids that the layout needs, and the grid (rows, columns) of image tokens."""

    grid_hw: tuple[int, int]
    vision_start: int
    vision_end: int
    image_pad: int
    traj_start: int
    traj_end: int
    traj_pad: int
    caption: int
    ask: int
    image_caption: int
    locate: int
    answer: int
    end: int
    seg: int
    codebook: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.grid_hw) < 1:
            raise ConfigError(f"grid_hw is {self.grid_hw}; both sides must be at least 1")
        if len(self.codebook) != len(SPECIAL.codebook):
            raise ConfigError(
                f"codebook holds {len(self.codebook)} ids; it must hold {len(SPECIAL.codebook)}"
            )

    @classmethod
    def from_ids(cls, ids: Mapping[str, int], grid_hw: tuple[int, int]) -> "PromptLayout":
        """``ids``: special token text (``core.tokens``) -> id. ConfigError when one is missing."""
        missing = [token for token in special_tokens() if ids.get(token) is None]
        if missing:
            raise ConfigError(f"the tokenizer lacks the special token '{missing[0]}'; re-export")
        return cls(
            grid_hw=grid_hw,
            vision_start=ids[SPECIAL.vision_start],
            vision_end=ids[SPECIAL.vision_end],
            image_pad=ids[SPECIAL.image_pad],
            traj_start=ids[SPECIAL.traj_start],
            traj_end=ids[SPECIAL.traj_end],
            traj_pad=ids[SPECIAL.traj_pad],
            caption=ids[SPECIAL.caption],
            ask=ids[SPECIAL.ask],
            image_caption=ids[SPECIAL.image_caption],
            locate=ids[SPECIAL.locate],
            answer=ids[SPECIAL.answer],
            end=ids[SPECIAL.end],
            seg=ids[SPECIAL.seg],
            codebook=tuple(ids[token] for token in SPECIAL.codebook),
        )


class PromptIds(NamedTuple):
    """``ids`` (L,) int64 with image and trajectory placeholders; ``position_ids`` (3, L) int64.

    ``next_position`` is the rope position of the first token after the prompt.
    """

    ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    next_position: int


class EmbeddedPrompt(NamedTuple):
    """Inputs of the ``prefill`` graph: (1, L, D) float32 and (3, 1, L) int64."""

    embeddings: NDArray[np.float32]
    position_ids: NDArray[np.int64]
    next_position: int


def prompt_ids(
    layout: PromptLayout,
    trace_tokens: int,
    question: NDArray[np.int64] | None = None,
    task: int | None = None,
) -> PromptIds:
    """Lay out a prompt with ``trace_tokens`` trace placeholders (0: no trace section).

    ``question`` holds the ids of the question's text; with one the task is ``ask`` unless
    ``task`` says otherwise, without one ``caption``.
    """
    rows, columns = layout.grid_hw
    if task is None:
        task = layout.caption if question is None else layout.ask
    trace = (
        [layout.traj_start, *[layout.traj_pad] * trace_tokens, layout.traj_end]
        if trace_tokens
        else []
    )
    words = [] if question is None else question.tolist()
    tail = [layout.vision_end, *trace, task, *words, layout.answer]
    ids = np.array(
        [layout.vision_start, *[layout.image_pad] * (rows * columns), *tail], dtype=np.int64
    )
    position_ids, next_position = _positions(layout.grid_hw, len(tail))
    return PromptIds(ids, position_ids, next_position)


def _positions(grid_hw: tuple[int, int], tail: int) -> tuple[NDArray[np.int64], int]:
    """Rope ids (time, row, column) as in Qwen2-VL: text counts on, an image spans its grid."""
    rows, columns = grid_hw
    start = np.zeros((3, 1), dtype=np.int64)
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    image = 1 + np.stack([np.zeros_like(row), row, column])
    first = 1 + max(rows, columns)
    text = np.broadcast_to(np.arange(first, first + tail, dtype=np.int64), (3, tail))
    return np.concatenate([start, image, text], axis=1), first + tail


def answer_positions(next_position: int, count: int) -> NDArray[np.int64]:
    """Rope ids (3, 1, count) of ``count`` answer tokens that start at ``next_position``."""
    steps = np.arange(next_position, next_position + count, dtype=np.int64)
    return np.broadcast_to(steps, (3, 1, count)).copy()


def embed_prompt(
    layout: PromptLayout,
    look_up: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    enhanced: NDArray[np.float32],
    trace_tokens: NDArray[np.float32],
    question: NDArray[np.int64] | None = None,
    task: int | None = None,
) -> EmbeddedPrompt:
    """Put (N, D) image tokens and (K, D) valid trace tokens into the embedded prompt; K may be 0.

    ``look_up`` maps ids (L,) to rows (L, D) of the embedding table; ``question`` and ``task``: see
    ``prompt_ids``. Raises ConfigError when N is not the grid's size.
    """
    rows, columns = layout.grid_hw
    if enhanced.shape[0] != rows * columns:
        raise ConfigError(
            f"{enhanced.shape[0]} image tokens; the grid {layout.grid_hw} takes {rows * columns}"
        )
    prompt = prompt_ids(layout, trace_tokens.shape[0], question, task)
    embeddings = look_up(prompt.ids).astype(np.float32, copy=True)
    embeddings[1 : 1 + rows * columns] = enhanced
    first = 3 + rows * columns
    embeddings[first : first + trace_tokens.shape[0]] = trace_tokens
    return EmbeddedPrompt(embeddings[None], prompt.position_ids[:, None], prompt.next_position)
