"""A red square that moves over green ground, both with some texture, and what is true of it."""

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.mask_memory.small_picture import Field
from tracevlm_ros.core.types import BoolArray, Frame, Image

SIZE_HW = (96, 128)
SIDE = 28
_RED, _GREEN = np.array([170, 50, 50]), np.array([50, 120, 60])


def _texture(size_hw: tuple[int, int], seed: int) -> NDArray[np.float64]:
    cells = np.random.default_rng(seed).normal(0, 14, (size_hw[0] // 4 + 1, size_hw[1] // 4 + 1))
    return np.kron(cells, np.ones((4, 4)))[: size_hw[0], : size_hw[1], None]


_GROUND, _OBJECT = _texture(SIZE_HW, 1), _texture((SIDE, SIDE), 2)


def place(index: int) -> tuple[int, int]:
    """Left and top of the square in frame ``index``: two pixels a frame to the right."""
    return 20 + 2 * index, 30


def frame(index: int, *, is_covered: bool = False) -> Frame:
    """Frame ``index``; covered, there is only the ground."""
    image = _GREEN + _GROUND
    if not is_covered:
        x, y = place(index)
        image = image.copy()
        image[y : y + SIDE, x : x + SIDE] = _RED + _OBJECT
    picture: Image = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(index, picture)


def truth(index: int) -> BoolArray:
    mask = np.zeros(SIZE_HW, dtype=bool)
    x, y = place(index)
    mask[y : y + SIDE, x : x + SIDE] = True
    return mask


def answer(mask: BoolArray) -> Field:
    """A model's logits for ``mask``, at half its size: 2.5 inside, -2.5 outside."""
    return np.where(mask[::2, ::2], np.float32(2.5), np.float32(-2.5))
