"""Douglas-Peucker as in the textbook: the oracle that every faster path is compared with."""

import numpy as np
from numpy.typing import ArrayLike

from tracevlm_ros.core.simplify.checks import checked_points, checked_tolerance
from tracevlm_ros.core.simplify.distance import chord_between, is_line_metric, squared_distance
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray


def farthest_interior(
    points: FloatArray, first: int, last: int, is_line: bool
) -> tuple[int, float]:
    """(index, squared distance) of the point strictly between ``first`` and ``last`` that is
    farthest from their chord, the earliest of equals; (-1, -1) where there is none."""
    chord = chord_between(points[first, 0], points[first, 1], points[last, 0], points[last, 1])
    farthest = -1
    greatest = -1.0
    for index in range(first + 1, last):
        distance = squared_distance(points[index, 0], points[index, 1], chord, is_line)
        if distance > greatest:
            farthest = index
            greatest = distance
    return farthest, greatest


def keep_mask(points: FloatArray, tolerance2: float, is_line: bool) -> BoolArray:
    """Which points stay: the ends, and each farthest point whose squared distance is beyond
    ``tolerance2``, again and again on both sides. A list of open intervals stands in for
    recursion, so that a spiral of 100,000 points cannot exhaust the stack."""
    keep = np.zeros(len(points), dtype=np.bool_)
    if len(points) == 0:
        return keep
    keep[0] = True
    keep[-1] = True
    intervals = [(0, len(points) - 1)]
    while len(intervals) > 0:
        first, last = intervals.pop()
        farthest, greatest = farthest_interior(points, first, last, is_line)
        if greatest > tolerance2:
            keep[farthest] = True
            intervals.append((first, farthest))
            intervals.append((farthest, last))
    return keep


def simplify_reference(
    points_px: ArrayLike, tolerance_px: float, metric: str = "segment"
) -> IntArray:
    """Indices (K,) int64, ascending, of the keypoints of ``points_px`` (N, 2); see ``simplify``.

    Slow on purpose: one Python call for each distance.
    """
    points = checked_points(points_px)
    tolerance = checked_tolerance(tolerance_px)
    return np.flatnonzero(keep_mask(points, tolerance * tolerance, is_line_metric(metric)))
