"""What simplification accepts: finite pixels within a limit, tolerances of zero or more."""

import math

import numpy as np
from numpy.typing import ArrayLike

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import FloatArray

COORDINATE_LIMIT_PX = 1e12
"""Squares of products stay far from overflow; more than this is no pixel but a unit error."""


def checked_points(points_px: ArrayLike) -> FloatArray:
    """``points_px`` as C-contiguous float64 (N, 2), not copied where it already is.

    InputError for another shape, and for a coordinate that is NaN, infinite or beyond the limit.
    """
    points = np.ascontiguousarray(points_px, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"points have shape {points.shape}; they must be (N, 2) pixels")
    bad = ~(np.abs(points) <= COORDINATE_LIMIT_PX)
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        raise InputError(_describe(points[row, 0], points[row, 1], f"point {row}"))
    return points


def checked_point(x_px: float, y_px: float) -> tuple[float, float]:
    """One point as two floats; InputError as for ``checked_points``."""
    x, y = float(x_px), float(y_px)
    limit = COORDINATE_LIMIT_PX
    if -limit <= x <= limit and -limit <= y <= limit:
        return x, y
    raise InputError(_describe(x, y, "point"))


def checked_tolerance(tolerance_px: float) -> float:
    """``tolerance_px`` as float; ConfigError unless it is finite and not negative."""
    tolerance = float(tolerance_px)
    if not (tolerance >= 0.0 and math.isfinite(tolerance)):
        raise ConfigError(f"tolerance_px is {tolerance_px!r}; it must be a number from 0 up")
    return tolerance


def _describe(x: float, y: float, what: str) -> str:
    return (
        f"{what} is ({x}, {y}); both coordinates must be finite and within "
        f"±{COORDINATE_LIMIT_PX:g} px; drop samples without a position before they reach a trace"
    )
