"""Coordinates as the model reads and writes them (METHOD.md, simplification and tokens)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 1000


def quantise(values: ArrayLike) -> NDArray[np.int64]:
    """Coordinates in 0..1 -> bins 0..999: ``min(999, floor(1000 clip(v, 0, 1)))``."""
    clipped = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    return np.minimum(BINS - 1, np.floor(BINS * clipped)).astype(np.int64)


def dequantise(bins: ArrayLike) -> NDArray[np.float64]:
    """Bins 0..999 -> the centre of each bin, ``(q + 0.5) / 1000``."""
    return (np.asarray(bins, dtype=np.float64) + 0.5) / BINS


class Special(NamedTuple):
    """The tokens that are no words. The tokenizer holds each of them as one added token."""

    pad: str = "<|pad|>"
    end: str = "<|im_end|>"
    vision_start: str = "<|vision_start|>"
    vision_end: str = "<|vision_end|>"
    image_pad: str = "<|image_pad|>"
    traj_start: str = "<traj>"
    traj_end: str = "</traj>"
    traj_pad: str = "<|traj_pad|>"
    seg: str = "[SEG]"
    codebook: tuple[str, ...] = (
        "<|seg_0|>",
        "<|seg_1|>",
        "<|seg_2|>",
        "<|seg_3|>",
        "<|seg_4|>",
        "<|seg_5|>",
    )
    caption: str = "<|task_caption|>"
    ask: str = "<|task_ask|>"
    image_caption: str = "<|task_image_caption|>"
    locate: str = "<|task_locate|>"
    joint: str = "<|task_joint|>"
    interpret: str = "<|task_interpret|>"
    answer: str = "<|answer|>"


SPECIAL = Special()


def special_tokens() -> tuple[str, ...]:
    """All special tokens in the fixed order of their ids: ``pad`` is 0."""
    singles = [value for value in SPECIAL if isinstance(value, str)]
    return (*singles[:9], *SPECIAL.codebook, *singles[9:])


def trajectory_text(points: ArrayLike) -> str:
    """Points (K, 2) in 0..1 -> ``<traj>(x,y),(x,y)...</traj>`` with bins 0..999."""
    pairs = ",".join(f"({x},{y})" for x, y in quantise(points).reshape(-1, 2))
    return f"{SPECIAL.traj_start}{pairs}{SPECIAL.traj_end}"


def as_continuation(text: str) -> str:
    """``text`` as it stands after other text, for the tokenizer: a leading space, lower case."""
    return f" {text.strip().lower()}"
