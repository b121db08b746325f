"""Which points can be looked up in an image at all."""

import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray


def finite_rows(points: FloatArray) -> BoolArray:
    """Which ``points`` (N, 2) have two finite coordinates."""
    return np.asarray(np.all(np.isfinite(points), axis=1), dtype=bool)


def within(points: FloatArray, shape_hw: tuple[int, ...]) -> BoolArray:
    """Which ``points`` (N, 2) are finite and lie on a pixel of an image of ``shape_hw``."""
    limit = np.array([shape_hw[1], shape_hw[0]]) - 0.5
    with np.errstate(invalid="ignore"):
        return np.asarray(np.all((points >= -0.5) & (points < limit), axis=1), dtype=bool)
