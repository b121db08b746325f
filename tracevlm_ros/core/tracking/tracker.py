"""Carries the points of all live traces from frame to frame. See ``docs/tracking.md``."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.tracking.background import Background
from tracevlm_ros.core.tracking.bounds import finite_rows
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.keypoint_step import KeypointStep
from tracevlm_ros.core.tracking.motion import (
    FrameMotion,
    PointStatus,
    apply_homography,
    local_jacobians,
    still,
)
from tracevlm_ros.core.tracking.patches import PatchStore
from tracevlm_ros.core.tracking.pictures import Pictures, correlation, shows_nothing, take_pictures
from tracevlm_ros.core.tracking.pulling import core_of, nearest_on_mask, on_mask, pull_into_mask
from tracevlm_ros.core.tracking.redetection import Redetection
from tracevlm_ros.core.tracking.trace_points import NO_PATCH, TracePoints
from tracevlm_ros.core.types import BoolArray, FloatArray, Frame, IntArray


class TraceTracker:
    """Keeps every raw point of every trace on what it pointed at.

    All raw points move with the frame's robust global homography; keypoints are followed by
    optical flow, compared with their first sight and gated; what they move on top of the
    homography moves the raw points between them. One thread at a time. ``drops`` counts what was
    not used, by reason.
    """

    def __init__(self, config: TrackingConfig | None = None, drops: Drops | None = None) -> None:
        self.config = config or TrackingConfig()
        self.drops = Drops() if drops is None else drops
        self._background = Background(self.config)
        self.reset()

    def reset(self) -> None:
        """Forget all traces and the previous frame (bag loop, new source)."""
        self._traces: dict[int, TracePoints] = {}
        self._pictures: Pictures | None = None
        self._patches = PatchStore(self.config.template_px, self.config.min_contrast)
        self._step = KeypointStep(self.config, self._patches)
        self._redetection = Redetection(self.config, self._patches)
        self._background.reset()

    def advance(self, frame: Frame) -> FrameMotion:
        """Move all points to ``frame``. Raises InputError when it is no uint8 (H, W, 3) image.

        Frames that show nothing are passed over: the next one is compared with the last that
        showed something. After a cut or a change of size every trace is lost until its look is
        found again; points then stay where they are (scaled to the new size).
        """
        now = take_pictures(frame.image_rgb, self.config.work_long_side)
        if shows_nothing(now, self.config.black_level):
            self.drops["frame_black"] += 1
            self._lose_all()
            return still("black")
        before = self._pictures
        if before is None:
            self._pictures = now
            return still(ok=True)
        self.prepare()
        self._pictures = now
        self._remember_looks(before)
        if before.grey.shape != now.grey.shape:
            self.drops["frame_size_changed"] += 1
            return self._change_size(before, now)
        motion = self._background.measure(before, now)
        if (
            motion.inlier_share < self.config.cut_share
            and correlation(before, now) < self.config.cut_correlation
        ):
            self.drops["frame_cut"] += 1
            self._background.reset()
            self._lose_all()
            motion = still("cut")
        self._step.move(list(self._traces.values()), before, now, motion)
        self._redetection.look(self._traces, now)
        return motion

    def prepare(self) -> None:
        """Take from the current frame what the next one will be compared with: looks of new
        keypoints, new background features. ``advance`` does it first; before that it saves time.
        """
        if self._pictures is None:
            return
        for trace in self._traces.values():
            new = trace.keypoints[trace.slot[trace.keypoints] == NO_PATCH]
            if len(new):
                trace.slot[new] = self._patches.capture(self._pictures.grey, trace.xy[new])
        self._background.prepare(self._pictures)

    def extend(self, trace_id: int, points_px: ArrayLike) -> None:
        """Append raw points (M, 2), seen in the current frame; a new id makes a new trace.

        Points that are not finite keep their place in the numbering and are LOST.
        """
        points = np.asarray(points_px, dtype=np.float64)
        if points.size == 0:
            points = points.reshape(0, 2)
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"trace {trace_id}: points are {points.shape}; pass (M, 2)")
        trace = self._traces.setdefault(trace_id, TracePoints())
        unusable = trace.append(points)
        if unusable:
            self.drops["point_not_finite"] += unusable

    def set_keypoints(self, trace_id: int, indices: ArrayLike) -> None:
        """Say which raw points are followed; replaces the former choice. Order does not matter.

        Some other raw points are followed with them while all traces together follow fewer than
        ``followed_points``: few keypoints alone do not tell how their object moves.
        """
        trace = self._trace(trace_id)
        chosen = _ascending(np.asarray(indices, dtype=np.int64).reshape(-1))
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < len(trace):
            raise InputError(
                f"trace {trace_id}: keypoint {chosen[0] if chosen[0] < 0 else chosen[-1]} of "
                f"{len(trace)} raw points; extend the trace first"
            )
        others = sum(len(known.keypoints) for known in self._traces.values() if known is not trace)
        spare = self.config.followed_points - others - len(chosen)
        helpers = max(0, min(spare, self.config.helpers_per_trace))
        self._patches.release(trace.choose(chosen, helpers))

    def positions(self, trace_id: int) -> FloatArray:
        """All raw points (N, 2) in pixels of the current frame; a copy. They may lie outside."""
        return self._trace(trace_id).xy.copy()

    def status(self, trace_id: int) -> NDArray[np.int8]:
        """``PointStatus`` (N,) of all raw points; a copy."""
        trace = self._trace(trace_id)
        if trace.lost:
            return np.full(len(trace), PointStatus.LOST, dtype=np.int8)
        return trace.status.copy()

    def lost(self, trace_id: int) -> bool:
        """True while the tracker does not know where the object of the trace is."""
        return self._trace(trace_id).lost

    def reanchor(self, trace_id: int, mask: BoolArray) -> int:
        """Pull points that are off ``mask`` bool (H, W) of the current frame onto it.

        A trace that is lost, or mostly off the mask, is moved there as a whole and is found
        again. Returns how many points moved; an empty mask moves none.
        """
        trace = self._trace_with(trace_id, mask)
        moved = pull_into_mask(trace.xy, mask, whole=trace.lost)
        return self._place(trace, moved.xy, moved.pulled, is_first_sight=True)

    def steer(self, trace_id: int, mask: BoolArray, core: float) -> int:
        """Move the points that the tracker does not see, and that are off ``mask``, into its core.

        ``mask`` bool (H, W) of the current frame says where the object should be; ``core`` is the
        share of its greatest depth that the points come to lie inside its rim. TRACKED points
        know better and stay. A lost trace moves as a whole and is found again. Returns how many
        points moved.
        """
        trace = self._trace_with(trace_id, mask)
        if trace.lost:
            moved = pull_into_mask(trace.xy, core_of(mask, core), whole=True)
            return self._place(trace, moved.xy, moved.pulled, is_first_sight=False)
        finite = finite_rows(trace.xy)
        astray = finite & (trace.status != PointStatus.TRACKED) & ~on_mask(trace.xy, mask, finite)
        if not astray.any() or not mask.any():
            return 0
        xy = trace.xy.copy()
        xy[astray] = nearest_on_mask(xy[astray], core_of(mask, core))
        return self._place(trace, xy, astray, is_first_sight=False)

    def surely_seen(self, trace_id: int) -> FloatArray:
        """Followed points (K, 2) that look in this frame as they did when the trace was drawn."""
        trace = self._trace(trace_id)
        points = trace.keypoints
        sure = (trace.status[points] == PointStatus.TRACKED) & trace.original[points]
        seen: FloatArray = trace.xy[points[sure & (not trace.lost)]]
        return seen

    def forget(self, trace_id: int) -> None:
        """Drop a trace; an unknown id is an InputError."""
        trace = self._trace(trace_id)
        self._patches.release(trace.slot[trace.slot >= 0])
        self._redetection.forget(trace_id)
        del self._traces[trace_id]

    def _trace(self, trace_id: int) -> TracePoints:
        try:
            return self._traces[trace_id]
        except KeyError:
            known = ", ".join(map(str, self._traces)) or "none"
            raise InputError(f"no trace {trace_id}; known: {known}") from None

    def _trace_with(self, trace_id: int, mask: BoolArray) -> TracePoints:
        trace = self._trace(trace_id)
        if self._pictures is None or mask.shape != self._pictures.grey.shape:
            known = None if self._pictures is None else self._pictures.grey.shape
            raise InputError(f"mask is {mask.shape}, the current frame {known}; resize the mask")
        return trace

    def _place(
        self, trace: TracePoints, xy: FloatArray, moved: BoolArray, *, is_first_sight: bool
    ) -> int:
        """Put the ``moved`` points of a trace at ``xy`` (N, 2), where they get new patches.

        With ``is_first_sight`` a new patch is trusted like the first one.
        """
        if not moved.any():
            return 0
        trace.xy = xy
        anew = trace.keypoints[moved[trace.keypoints]]
        self._patches.release(trace.slot[anew])
        trace.slot[anew] = NO_PATCH
        trace.original[anew] &= is_first_sight
        trace.status[moved] = PointStatus.CARRIED
        trace.unseen[moved] = 0
        trace.misses, trace.lost = 0, False
        trace.settle_here()
        return int(moved.sum())

    def _lose_all(self) -> None:
        for trace in self._traces.values():
            trace.lost = True

    def _remember_looks(self, pictures: Pictures) -> None:
        """Keep how the traces that are not lost look in ``pictures``."""
        for trace_id, trace in self._traces.items():
            if not trace.lost:
                self._redetection.remember(trace_id, trace, pictures)

    def _change_size(self, before: Pictures, now: Pictures) -> FrameMotion:
        ratio = np.array(now.grey.shape[::-1]) / np.array(before.grey.shape[::-1])
        homography = np.diag([*ratio, 1.0])
        homography[:2, 2] = 0.5 * ratio - 0.5
        for trace in self._traces.values():
            followed = trace.keypoints[trace.slot[trace.keypoints] >= 0]
            jacobians = local_jacobians(homography, trace.xy[followed])
            self._patches.deform(trace.slot[followed], jacobians)
            trace.xy = apply_homography(homography, trace.xy)
            trace.settle_here()
        self._background.reset()
        self._lose_all()
        return still("size")._replace(homography=homography)


def _ascending(indices: IntArray) -> IntArray:
    """Each of ``indices`` (K,) once, in order; they mostly are."""
    return indices if (indices[1:] > indices[:-1]).all() else np.unique(indices)
