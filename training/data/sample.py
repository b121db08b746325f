"""What a data source gives: one picture at the model's size and what is known of its objects."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray, Image
from tracevlm_ros.synthetic import vocabulary
from training.data.categories import CATEGORIES

BACKGROUND = 0
PATCH_CLASSES: dict[str, int] = {
    "shape": 1 + len(vocabulary.SHAPES),
    "colour": len(vocabulary.COLOURS),
    "texture": len(vocabulary.TEXTURES),
    "size": len(vocabulary.SIZES),
    "category": len(CATEGORIES),
}
"""Label groups of the auxiliary loss; class 0 of ``shape`` is background."""


class Instance(NamedTuple):
    """One object: its visible ``mask`` bool (S, S), label-group classes, and what is said of it.

    ``answers`` pairs a question (None: the caption) with its answer.
    """

    mask: BoolArray
    classes: dict[str, int]
    answers: tuple[tuple[str | None, str], ...]


class Sample(NamedTuple):
    """``image_rgb`` uint8 (S, S, 3). ``background_known``: pixels of no instance are background;
    in photos they may hold objects that nobody labelled. ``captions`` are of the whole picture."""

    image_rgb: Image
    instances: tuple[Instance, ...]
    background_known: bool
    captions: tuple[str, ...] = ()


class TraceTarget(NamedTuple):
    """A raw trace (N, 3) of x, y in pixels and t in seconds, over one instance.

    The pen was lifted before sample ``pen_up_at``, or never."""

    raw: NDArray[np.float64]
    pen_up_at: int | None = None
