"""A trace segment that is simplified while it grows, exactly at every instant."""

import numpy as np
from numpy.typing import ArrayLike

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.simplify.backend import kernels_for
from tracevlm_ros.core.simplify.checks import checked_point, checked_points, checked_tolerance
from tracevlm_ros.core.simplify.distance import is_line_metric
from tracevlm_ros.core.simplify.growing import CompiledTree, GrowingTree, NumpyTree
from tracevlm_ros.core.types import FloatArray, IntArray

MAX_POINTS = 100_000
FIRST_CAPACITY = 256


class IncrementalSimplifier:
    """One segment of a trace. After any ``append``, ``keypoints(tolerance_px)`` equals
    ``simplify(all points so far, tolerance_px, metric)``, whichever tolerances were asked before:
    a new weight needs no new geometry.

    No interior keypoint of an open segment is final, so every point is kept: some 0.4 kB each
    with numba. ``max_points`` bounds that: the point that fills the segment also closes it, and
    ``append`` says so. Not thread-safe.
    """

    def __init__(
        self, metric: str = "segment", max_points: int = MAX_POINTS, backend: str = "auto"
    ) -> None:
        """``backend`` "auto" serves from numpy until ``warm_up`` is done, then from numba;
        ConfigError for an unknown metric or backend, or fewer than 2 ``max_points``."""
        if isinstance(max_points, bool) or not isinstance(max_points, int) or max_points < 2:
            raise ConfigError(f"max_points is {max_points!r}; it must be a whole number from 2 up")
        kernels_for(backend)
        self.metric = metric
        self.max_points = max_points
        self._is_line = is_line_metric(metric)
        self._backend = backend
        self._count = 0
        self._is_closed = False
        self._tree: GrowingTree | None = None
        self._points: FloatArray = np.zeros((0, 2))
        self._reserve(min(FIRST_CAPACITY, max_points))

    def __len__(self) -> int:
        """Points so far."""
        return self._count

    @property
    def is_closed(self) -> bool:
        """Whether the keypoints are final: ``close`` was called or the segment is full."""
        return self._is_closed

    @property
    def is_full(self) -> bool:
        """Whether ``max_points`` are reached: the caller goes on in a new segment."""
        return self._count == self.max_points

    @property
    def points_px(self) -> FloatArray:
        """All points so far, (N, 2), as a read-only view that is valid until the next append."""
        view = self._points[: self._count]
        view.flags.writeable = False
        return view

    def append(self, x_px: float, y_px: float) -> bool:
        """Add one point; True while there is room for another, False if it filled the segment.

        InputError, leaving the segment as it was, for a coordinate that is not finite and for a
        closed segment.
        """
        if self._is_closed:
            raise InputError(self._closed_message())
        x, y = checked_point(x_px, y_px)
        count = self._count
        if count == len(self._points):
            self._reserve(min(2 * count, self.max_points))
        self._cells[2 * count] = x
        self._cells[2 * count + 1] = y
        self._count = count + 1
        self._is_closed = self._count == self.max_points
        return not self._is_closed

    def extend(self, points_px: ArrayLike) -> int:
        """Add points (N, 2) in order, as many as fit; returns how many were taken.

        InputError as for ``append``, before anything is taken; no points are always welcome.
        """
        points = checked_points(points_px)
        if len(points) == 0:
            return 0
        if self._is_closed:
            raise InputError(self._closed_message())
        taken = min(len(points), self.max_points - self._count)
        count = self._count + taken
        if count > len(self._points):
            self._reserve(min(max(count, 2 * len(self._points)), self.max_points))
        self._points[self._count : count] = points[:taken]
        self._count = count
        self._is_closed = count == self.max_points
        return taken

    def keypoints(self, tolerance_px: float) -> IntArray:
        """Indices (K,) int64, ascending, of the keypoints of all points so far."""
        tolerance = checked_tolerance(tolerance_px)
        if self._count < 3:
            return np.arange(self._count)
        return self._current_tree().keypoints(self._count, tolerance * tolerance)

    def close(self) -> None:
        """No more points: from now on the keypoints are final. Closing twice is fine."""
        self._is_closed = True

    def _current_tree(self) -> GrowingTree:
        kernels = kernels_for(self._backend)
        if self._tree is None or (kernels is not None and isinstance(self._tree, NumpyTree)):
            self._tree = (
                NumpyTree(self._points, self._is_line)
                if kernels is None
                else CompiledTree(kernels, self._points, self._is_line)
            )
        return self._tree

    def _reserve(self, capacity: int) -> None:
        points = np.zeros((capacity, 2))
        points[: self._count] = self._points[: self._count]
        self._points = points
        self._cells = points.data.cast("B").cast("d")
        if self._tree is not None:
            self._tree.move_to(points)

    def _closed_message(self) -> str:
        reason = f"full at max_points={self.max_points}" if self.is_full else "closed"
        return f"segment is {reason} with {self._count} points; start a new one at its last point"
