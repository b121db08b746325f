"""Which points can be looked up in an image at all."""

import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray


def finite_rows(points: FloatArray) -> BoolArray:
    """Which ``points`` (N, 2) have two finite coordinates."""
    finite: BoolArray = np.isfinite(points[:, 0]) & np.isfinite(points[:, 1])
    return finite


def within(points: FloatArray, shape_hw: tuple[int, ...]) -> BoolArray:
    """Which ``points`` (N, 2) are finite and lie on a pixel of an image of ``shape_hw``."""
    x, y = points[:, 0], points[:, 1]
    height, width = shape_hw[0] - 0.5, shape_hw[1] - 0.5
    inside: BoolArray = (x >= -0.5) & (x < width) & (y >= -0.5) & (y < height)
    return inside
