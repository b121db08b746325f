"""What a calibration is fitted to: targets at known places, and the gaze that looked at them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray

RAYLEIGH_MEDIAN = 1.1774
"""Median distance from the centre of an isotropic normal distribution, in deviations."""


class TargetLook(NamedTuple):
    """One target: ``target`` (2,) and the raw gaze ``gaze`` (M, 2) while it was looked at.

    All normalised by the image size (x / W, y / H).
    """

    target: FloatArray
    gaze: FloatArray


class FixedTarget(NamedTuple):
    """One target reduced to a robust centre of its gaze, for fitting.

    ``gaze`` (2,) normalised; ``spread_px`` robust standard deviation of the samples along one axis;
    ``kept`` how many of ``total`` samples were no outliers.
    """

    target: FloatArray
    gaze: FloatArray
    spread_px: float
    kept: int
    total: int


def reduce_looks(looks: Sequence[TargetLook], size_hw: tuple[int, int]) -> list[FixedTarget]:
    """Robust centre of each target's gaze; targets whose samples are all NaN are left out.

    Starts at the geometric median, which up to half of outliers cannot move, and keeps the samples
    within 3 robust deviations of the centre until that set no longer changes.
    """
    scale = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
    fixed = []
    for look in looks:
        gaze_px = look.gaze[np.all(np.isfinite(look.gaze), axis=1)] * scale
        if len(gaze_px) == 0:
            continue
        keep, spread_px = _inliers(gaze_px)
        fixed.append(
            FixedTarget(
                np.asarray(look.target, dtype=np.float64),
                gaze_px[keep].mean(axis=0) / scale,
                spread_px,
                int(keep.sum()),
                len(look.gaze),
            )
        )
    return fixed


def _inliers(points: FloatArray) -> tuple[BoolArray, float]:
    """Which of ``points`` (N, 2) belong to the cluster, and its deviation along one axis."""
    keep = np.ones(len(points), dtype=np.bool_)
    centre = geometric_median(points)
    spread = 0.0
    for _ in range(10):
        distance = np.linalg.norm(points - centre, axis=1)
        spread = float(np.median(distance[keep])) / RAYLEIGH_MEDIAN
        closer = distance <= max(3 * spread, 1e-9)
        if np.array_equal(closer, keep):
            break
        keep = closer
        centre = points[keep].mean(axis=0)
    return keep, spread


def geometric_median(points: FloatArray, iterations: int = 100) -> FloatArray:
    """The point of least summed distance to ``points`` (N, 2), by Weiszfeld's iteration."""
    centre = np.median(points, axis=0)
    for _ in range(iterations):
        weight = 1.0 / np.maximum(np.linalg.norm(points - centre, axis=1), 1e-12)
        moved = (points * weight[:, None]).sum(axis=0) / weight.sum()
        if np.linalg.norm(moved - centre) < 1e-12:
            break
        centre = moved
    return np.asarray(centre)


def require_spread(targets: FloatArray) -> None:
    """Raise InputError for fewer than three targets or targets on one line."""
    if len(targets) < 3:
        raise InputError(
            f"{len(targets)} target(s) were looked at; at least 3 that are not on one line are "
            "needed: look at more targets"
        )
    singular = np.linalg.svd(targets - targets.mean(axis=0), compute_uv=False)
    if singular[1] < 0.02 * max(singular[0], 1e-12) or singular[1] < 1e-3:
        raise InputError(
            f"the {len(targets)} targets lie on one line or on one place; "
            "spread them over the image"
        )


def coverage(targets: FloatArray) -> float:
    """Area of the convex hull of normalised targets, as a share of the image."""
    points = sorted({(float(x), float(y)) for x, y in targets})
    if len(points) < 3:
        return 0.0

    def chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for p in ordered:
            while len(hull) > 1 and _turn(hull[-2], hull[-1], p) <= 0:
                hull.pop()
            hull.append(p)
        return hull[:-1]

    hull = np.array(chain(points) + chain(points[::-1]))
    x, y = hull[:, 0], hull[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
