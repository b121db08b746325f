"""Simplifying what is complete: one segment, or a whole trace of segments."""

from collections.abc import Sequence
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.simplify.backend import kernels_for
from tracevlm_ros.core.simplify.block_search import BlockSearch
from tracevlm_ros.core.simplify.checks import checked_points, checked_tolerance
from tracevlm_ros.core.simplify.distance import is_line_metric
from tracevlm_ros.core.simplify.tolerance import BASE_PX, tolerance_for
from tracevlm_ros.core.simplify.tree_arrays import box_tree
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray


class SegmentedKeypoints(NamedTuple):
    """Keypoints of a whole trace: ``indices`` (K,) int64 into its points, ascending; ``segment``
    (K,) int64, whose they are; ``weight`` (K,) of that segment; ``pen_up`` (K,) true where the
    pen was lifted just before the point."""

    indices: IntArray
    segment: IntArray
    weight: FloatArray
    pen_up: BoolArray


def simplify(
    points_px: ArrayLike, tolerance_px: float, metric: str = "segment", backend: str = "auto"
) -> IntArray:
    """Indices (K,) int64, ascending, of the points of ``points_px`` (N, 2) that stay.

    Douglas-Peucker: both ends stay; an interval splits at its farthest point, the earliest of
    equals, where that is *more* than ``tolerance_px`` away from the chord. ``metric="segment"``
    measures to the chord and so bounds the error: no point is farther than ``tolerance_px`` from
    the keypoints' polyline. ``metric="line"`` is the paper's equation 2, the infinite
    line, which bounds nothing where a stroke turns back. A closed chord falls back to the distance
    to its point in both.

    ``backend`` is auto, numpy or numba; the result is the same. InputError for coordinates that
    are not finite, ConfigError for settings.
    """
    points = checked_points(points_px)
    tolerance = checked_tolerance(tolerance_px)
    is_line = is_line_metric(metric)
    return _indices(points, tolerance, is_line, kernels_for(backend))


def simplify_segments(
    points_px: ArrayLike,
    starts: Sequence[int] | IntArray,
    weights: Sequence[float] | FloatArray,
    *,
    pen_up: Sequence[bool] | BoolArray | None = None,
    base_px: float = BASE_PX,
    long_side_px: float | None = None,
    metric: str = "segment",
    backend: str = "auto",
) -> SegmentedKeypoints:
    """Simplify each segment of a trace by itself, with the tolerance of its weight.

    Segment s holds the points from ``starts[s]`` up to the next start, the last one up to the end
    of ``points_px`` (N, 2); starts begin with 0 and rise. ``pen_up[s]`` says that the pen was
    lifted (or gaze was lost) before segment s; without it, every segment begins a new stroke.
    No chord ever joins two segments, so nothing is simplified across a pen-up. See
    ``tolerance_for`` for ``weights``, ``base_px`` and ``long_side_px``, ``simplify`` for the rest.
    """
    points = checked_points(points_px)
    first = np.asarray(starts, dtype=np.int64)
    _check_segments(len(points), first, len(weights), pen_up)
    is_line, kernels = is_line_metric(metric), kernels_for(backend)
    lifted = np.arange(len(first)) > 0 if pen_up is None else np.asarray(pen_up, dtype=np.bool_)
    bounds = [*first.tolist(), len(points)]
    parts = [
        begin
        + _indices(
            points[begin:end], tolerance_for(float(weight), base_px, long_side_px), is_line, kernels
        )
        for (begin, end), weight in zip(pairwise(bounds), weights, strict=True)
    ]
    index = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    segment = np.repeat(np.arange(len(first)), [len(part) for part in parts])
    begins = np.isin(index, first)
    return SegmentedKeypoints(
        indices=index,
        segment=segment,
        weight=np.asarray(weights, dtype=np.float64)[segment],
        pen_up=begins & lifted[segment],
    )


def _check_segments(
    count: int, starts: IntArray, weights: int, pen_up: Sequence[bool] | BoolArray | None
) -> None:
    if len(starts) != weights or (pen_up is not None and len(pen_up) != weights):
        flags = "" if pen_up is None else f" and {len(pen_up)} pen_up flags"
        raise InputError(f"{len(starts)} starts, {weights} weights{flags}; give one per segment")
    expected = "starts must begin with 0, rise, and stay below the number of points"
    if count == 0:
        if len(starts):
            raise InputError(f"starts are {starts.tolist()} but there is no point; {expected}")
        return
    if len(starts) == 0 or starts[0] != 0 or starts[-1] >= count or (np.diff(starts) <= 0).any():
        raise InputError(f"starts are {starts.tolist()} for {count} points; {expected}")


def _indices(
    points: FloatArray, tolerance: float, is_line: bool, kernels: ModuleType | None
) -> IntArray:
    count = len(points)
    if count <= 2:
        return np.arange(count)
    tolerance2 = tolerance * tolerance
    if kernels is not None:
        writable = np.require(points, requirements="W")  # numba compiles anew for a read-only array
        return np.flatnonzero(kernels.keep_mask(box_tree(writable), tolerance2, is_line))
    keep = np.zeros(count, dtype=np.bool_)
    keep[0] = keep[-1] = True
    search = BlockSearch(points, is_line)
    search.index(count)
    intervals = [(0, count - 1)]
    while intervals:
        start, end = intervals.pop()
        split, distance2 = search.farthest(start, end)
        if distance2 > tolerance2:
            keep[split] = True
            intervals += [(start, split), (split, end)]
    return np.flatnonzero(keep)
