"""All raw points of one trace in the current frame, and which of them are followed."""

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.tracking.bounds import finite_rows
from tracevlm_ros.core.tracking.motion import PointStatus, apply_homography
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray

NO_PATCH = -1
_NO_SLOTS: IntArray = np.empty(0, dtype=np.int64)


class TracePoints:
    """Arrays over the N raw points; only the tracker writes to them.

    ``keypoints``: the raw points that are followed, helpers included. ``slot``: their patch,
    NO_PATCH before it was seen inside the image. ``original``: it still is the first sight.
    ``unseen``: frames since the point was last TRACKED. ``doubtful``: frames in a row in which it
    looked only roughly as at first. ``home`` (N, 2): the points in the
    trace's reference frame; ``since`` (3, 3): homography of the scene from there to this frame.
    """

    def __init__(self) -> None:
        self.xy: FloatArray = np.empty((0, 2))
        self.status: NDArray[np.int8] = np.empty(0, dtype=np.int8)
        self.slot: IntArray = np.empty(0, dtype=np.int64)
        self.original: BoolArray = np.empty(0, dtype=bool)
        self.unseen: IntArray = np.empty(0, dtype=np.int64)
        self.doubtful: IntArray = np.empty(0, dtype=np.int64)
        self.keypoints: IntArray = np.empty(0, dtype=np.int64)
        self._chosen: tuple[bytes, int, int] | None = None
        self.home: FloatArray = np.empty((0, 2))
        self.since: FloatArray = np.eye(3)
        self.misses = 0
        self.lost = False
        self.velocity: FloatArray = np.zeros(2)

    def __len__(self) -> int:
        return len(self.xy)

    def append(self, points_px: FloatArray) -> int:
        """Add points (M, 2) of the current frame; says how many were not finite (LOST for good)."""
        finite = finite_rows(points_px)
        count = len(points_px)
        self.xy = np.concatenate([self.xy, np.where(finite[:, None], points_px, np.nan)])
        back = apply_homography(
            np.asarray(np.linalg.inv(self.since), dtype=np.float64), self.xy[len(self.home) :]
        )
        self.home = np.concatenate([self.home, back])
        fresh = np.where(finite, PointStatus.TRACKED, PointStatus.LOST).astype(np.int8)
        self.status = np.concatenate([self.status, fresh])
        self.slot = np.concatenate([self.slot, np.full(count, NO_PATCH, dtype=np.int64)])
        self.original = np.concatenate([self.original, np.ones(count, dtype=bool)])
        zeros = np.zeros(count, dtype=np.int64)
        self.unseen = np.concatenate([self.unseen, zeros])
        self.doubtful = np.concatenate([self.doubtful, zeros])
        return int(count - finite.sum())

    def choose(self, indices: IntArray, helpers: int) -> IntArray:
        """Follow ``indices`` and up to ``helpers`` raw points spread evenly over the trace.

        Returns the patch slots that are no longer needed. The spacing of the helpers is a power
        of two, so that a growing trace keeps most of them.
        """
        chosen = (indices.tobytes(), helpers, len(self.xy))
        if chosen == self._chosen:
            return _NO_SLOTS
        self._chosen = chosen
        wanted = indices
        if helpers > 0 and len(self.xy):
            spacing = 1 << max(0, (len(self.xy) - 1) // helpers).bit_length()
            wanted = np.union1d(indices, np.arange(0, len(self.xy), spacing))
        gone = np.setdiff1d(self.keypoints, wanted)
        slots = self.slot[gone]
        self.slot[gone] = NO_PATCH
        self.keypoints = wanted
        return slots[slots >= 0]

    def settle_here(self) -> None:
        """Make the current frame the reference frame: what moved the points so far was a jump."""
        self.home, self.since = self.xy.copy(), np.eye(3)

    def move_between_keypoints(self, predicted: FloatArray, corrections: FloatArray) -> None:
        """Move every raw point to ``predicted`` (N, 2) plus the corrections (K, 2) of the
        keypoints, interpolated by index; keypoints without a finite correction are passed over.
        """
        known = np.isfinite(corrections).all(axis=1)
        moved = predicted
        if known.any():
            at = np.arange(len(self.xy))
            nodes = self.keypoints[known]
            moved = predicted + np.stack(
                [np.interp(at, nodes, corrections[known, axis]) for axis in (0, 1)], axis=1
            )
        self.xy = moved

    def spread_status(self, seen: NDArray[np.int8]) -> None:
        """Give the keypoints the status ``seen`` (K,) and the others one between them.

        A raw point between two LOST keypoints is LOST, otherwise CARRIED.
        """
        if len(self.keypoints):
            alive = (seen != PointStatus.LOST).astype(np.float64)
            around = np.interp(np.arange(len(self.xy)), self.keypoints, alive)
            self.status[:] = np.where(around > 0, PointStatus.CARRIED, PointStatus.LOST)
            self.status[self.keypoints] = seen
        else:
            self.status[:] = PointStatus.CARRIED
        self.status[~np.isfinite(self.xy).all(axis=1)] = PointStatus.LOST
