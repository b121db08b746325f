"""One frame's step for the keypoints of all traces together: follow, compare, gate, carry."""

from collections.abc import Sequence

import numpy as np

from tracevlm_ros.core.tracking.bounds import finite_rows, within
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.local_motion import LocalMotion, fit_local_motion, no_motion
from tracevlm_ros.core.tracking.motion import (
    FrameMotion,
    PointStatus,
    apply_homography,
    local_jacobians,
)
from tracevlm_ros.core.tracking.patches import PatchStore
from tracevlm_ros.core.tracking.pictures import Pictures
from tracevlm_ros.core.tracking.sighting import Followed, Sightings, sight
from tracevlm_ros.core.tracking.trace_points import TracePoints
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray

_VELOCITY_KEPT = 0.8
_SLACK = 0.2
_GAP = 2
_MIN_RIGID = 6
_RIGID_SHARE = 0.7


class KeypointStep:
    """Moves traces by one frame. Holds no state of its own but the patches."""

    def __init__(self, config: TrackingConfig, patches: PatchStore) -> None:
        self._config = config
        self._patches = patches

    def move(
        self, traces: Sequence[TracePoints], before: Pictures, now: Pictures, motion: FrameMotion
    ) -> None:
        """Move every point of ``traces`` from ``before`` to ``now`` and judge the traces."""
        if not traces:
            return
        predicted = [_carry(trace, motion) for trace in traces]
        chosen = [self._patches.followed(trace.slot, trace.keypoints) for trace in traces]
        each = list(zip(traces, predicted, chosen, strict=True))
        followed = Followed(
            np.concatenate([trace.slot[points] for trace, _, points in each]),
            np.concatenate([trace.xy[points] for trace, _, points in each]),
            np.concatenate([where[points] + trace.velocity for trace, where, points in each]),
        )
        self._patches.deform(followed.slots, _usable_jacobians(motion, followed.start))
        sightings = sight(followed, self._patches, before, now, self._config)
        first = 0
        for trace, where, points in each:
            own = sightings.part(slice(first, first + len(points)))
            trace.since = motion.homography @ trace.since
            self._settle(trace, where, points, own, now, motion)
            first += len(points)

    def _settle(
        self,
        trace: TracePoints,
        predicted: FloatArray,
        points: IntArray,
        sightings: Sightings,
        now: Pictures,
        motion: FrameMotion,
    ) -> None:
        """Gate the sightings of one trace by its motion, carry the rest, judge its health."""
        config = self._config
        gate = config.gate_px / float(now.scale.mean())
        expected = predicted[points]
        local, agree = _vote(expected, sightings, gate)
        recent = trace.unseen[points] <= _GAP
        recent &= (trace.unseen[points] == 0) | (trace.status[points] != PointStatus.LOST)
        # A likeness to the last frame proves something only while the chain is unbroken.
        chained = sightings.alike & recent & agree & (not trace.lost)
        tracked = (sightings.matched & (agree | trace.original[points])) | chained
        xy, score = sightings.xy.copy(), sightings.score.copy()
        trace.velocity = local.shift if local.support else _VELOCITY_KEPT * trace.velocity
        carried = self._carried(trace, predicted, points[tracked], xy[tracked], local, gate)
        missed = np.flatnonzero(~tracked)
        if len(missed):
            missing = points[missed]
            again = self._patches.align(now.grey, trace.slot[missing], carried[missing], gate)
            back = (again.score >= config.match_score) & within(again.xy, now.grey.shape)
            xy[missed] = np.where(back[:, None], again.xy, carried[missing])
            score[missed] = again.score
            tracked[missed] = back
        carried[points] = xy
        nodes = trace.keypoints
        trace.move_between_keypoints(predicted, carried[nodes] - predicted[nodes])
        self._judge(trace, points, tracked, score, now, motion)
        if not trace.lost:
            self._renew_patches(trace, points, tracked, score, now, local.support)

    @staticmethod
    def _carried(
        trace: TracePoints,
        predicted: FloatArray,
        seen: IntArray,
        seen_xy: FloatArray,
        local: LocalMotion,
        gate: float,
    ) -> FloatArray:
        """Where the trace's own motion puts all its points (N, 2).

        As long as the points that were ``seen`` have moved since the reference frame as the scene
        did, up to an affine map, that map carries the others too, and no error adds up.
        Otherwise they take the step of this frame.
        """
        if len(seen) >= _MIN_RIGID:
            placed = apply_homography(trace.since, trace.home)
            whole, agree = fit_local_motion(placed[seen], seen_xy, gate / 2, stiffness=0.0)
            if agree.sum() >= _RIGID_SHARE * len(seen):
                moved = placed + whole.displacement(placed)
                return np.where(finite_rows(moved)[:, None], moved, predicted)
        if local.support:
            return predicted + local.displacement(predicted)
        return predicted + trace.velocity

    def _judge(
        self,
        trace: TracePoints,
        points: IntArray,
        tracked: BoolArray,
        score: FloatArray,
        now: Pictures,
        motion: FrameMotion,
    ) -> None:
        """Set the status of every point and whether the trace as a whole is lost."""
        config = self._config
        inside = within(trace.xy, now.grey.shape)
        status = np.where(inside[trace.keypoints], PointStatus.CARRIED, PointStatus.LOST)
        status = status.astype(np.int8)
        unfollowed = inside & (trace.slot >= 0)
        unfollowed[points] = False
        guessed = trace.keypoints[unfollowed[trace.keypoints]]
        hidden = guessed[self._patches.covered(now.grey, trace.slot[guessed], trace.xy[guessed])]
        status[np.searchsorted(trace.keypoints, hidden)] = PointStatus.LOST
        node = np.searchsorted(trace.keypoints, points)
        covered = ~tracked & (score < config.doubt_score)
        status[node[covered]] = PointStatus.LOST
        status[node[tracked]] = PointStatus.TRACKED
        trace.unseen[points] = np.where(tracked, 0, trace.unseen[points] + 1)
        trace.spread_status(status)
        visible = inside[points]
        if visible.any():
            share = float(tracked.sum()) / float(visible.sum())
        else:
            share = float(motion.ok and len(points) == 0 and bool(inside.any()))
        if trace.lost:
            if share >= config.recover_share:
                trace.lost, trace.misses = False, 0
        else:
            trace.misses = 0 if share >= config.lost_share else trace.misses + 1
            gone = len(trace) > 0 and not inside.any()
            trace.lost = gone or trace.misses >= config.lost_after

    def _renew_patches(
        self,
        trace: TracePoints,
        points: IntArray,
        tracked: BoolArray,
        score: FloatArray,
        now: Pictures,
        support: int,
    ) -> None:
        """Take patches anew where the look has changed for good, at the price of some drift."""
        config = self._config
        changed = tracked & (score < config.match_score)
        trace.doubtful[points] = np.where(changed, trace.doubtful[points] + 1, 0)
        stale = trace.doubtful[points] >= config.refresh_after
        if support >= 3:
            stale |= trace.unseen[points] >= config.adopt_after
        old = points[stale & within(trace.xy[points], now.grey.shape)]
        if len(old):
            self._patches.release(trace.slot[old])
            trace.slot[old] = self._patches.capture(now.grey, trace.xy[old])
            trace.original[old] = False
            trace.doubtful[old] = 0
            trace.unseen[old] = 0


def _carry(trace: TracePoints, motion: FrameMotion) -> FloatArray:
    moved = apply_homography(motion.homography, trace.xy)
    return np.where(np.isfinite(moved), moved, trace.xy)


def _usable_jacobians(motion: FrameMotion, points: FloatArray) -> FloatArray:
    jacobians = local_jacobians(motion.homography, points)
    broken = ~np.isfinite(jacobians).all(axis=(1, 2))
    jacobians[broken] = np.eye(2)
    return jacobians


def _vote(expected: FloatArray, sightings: Sightings, gate: float) -> tuple[LocalMotion, BoolArray]:
    """The motion that most keypoints share, by the best evidence that enough of them have."""
    agree = np.zeros(len(expected), dtype=bool)
    for evidence in (sightings.alike, sightings.consistent):
        voters = np.flatnonzero(evidence)
        if len(voters) == 0:
            continue
        moved = sightings.xy[voters] - expected[voters]
        slack = _SLACK * float(np.linalg.norm(np.median(moved, axis=0)))
        local, _ = fit_local_motion(expected[voters], sightings.xy[voters], gate + slack)
        if local.support:
            error = expected + local.displacement(expected) - sightings.xy
            agree = np.linalg.norm(error, axis=1) < gate + slack
            return local, np.asarray(agree, dtype=bool)
    return no_motion(), agree
