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
from tracevlm_ros.core.tracking.sighting import Followed, Sightings, flow_of_weak, sight
from tracevlm_ros.core.tracking.trace_points import TracePoints
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray

_VELOCITY_KEPT = 0.8
_SLACK = 0.2
_OWN_MOTION_PX = 0.5
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
        chosen = [
            self._expected_inside(trace, where, now, motion)
            for trace, where in zip(traces, predicted, strict=True)
        ]
        each = list(zip(traces, predicted, chosen, strict=True))
        followed = Followed(
            np.concatenate([trace.slot[points] for trace, _, points in each]),
            np.concatenate([trace.xy[points] for trace, _, points in each]),
            np.concatenate([where[points] + trace.velocity for trace, where, points in each]),
        )
        sightings = sight(followed, self._patches, before, now, self._config)
        first = 0
        for trace, where, points in each:
            own = sightings.part(slice(first, first + len(points)))
            trace.since = motion.homography @ trace.since
            self._settle(trace, where, points, own, before, now, motion)
            first += len(points)

    def _expected_inside(
        self, trace: TracePoints, predicted: FloatArray, now: Pictures, motion: FrameMotion
    ) -> IntArray:
        """The keypoints to look for: those that can be followed and should be in the picture.

        Patches of the others turn and grow with the scene all the same.
        """
        points = self._patches.followed(trace.slot, trace.keypoints)
        self._patches.deform(trace.slot[points], _usable_jacobians(motion, trace.xy[points]))
        trace.unseen[points] += 1
        return points[within(predicted[points] + trace.velocity, now.grey.shape)]

    def _lead_weak(
        self,
        trace: TracePoints,
        predicted: FloatArray,
        carried: FloatArray,
        local: LocalMotion,
        before: Pictures,
        now: Pictures,
    ) -> None:
        """Let the flow lead the keypoints on plain surfaces of a trace that moves by itself.

        Written to ``carried`` (N, 2). Where a trace moves with the scene, the homography knows
        better than the flow of a plain surface.
        """
        weak = self._patches.weak(trace.slot, trace.keypoints)
        weak = weak[within(predicted[weak], now.grey.shape)]
        if len(weak) == 0:
            return
        moved = predicted[weak]
        own = local.displacement(moved) if local.support else trace.velocity + np.zeros_like(moved)
        if np.abs(own).max() * float(now.scale.mean()) >= _OWN_MOTION_PX:
            carried[weak] = flow_of_weak(trace.xy[weak], moved + own, before, now, self._config)

    def _settle(
        self,
        trace: TracePoints,
        predicted: FloatArray,
        points: IntArray,
        sightings: Sightings,
        before: Pictures,
        now: Pictures,
        motion: FrameMotion,
    ) -> None:
        """Gate the sightings of one trace by its motion, carry the rest, judge its health."""
        config = self._config
        gate = config.gate_px / float(now.scale.mean())
        expected = predicted[points]
        local, agree = shared_motion(expected, sightings, gate, trace.velocity)
        recent = trace.unseen[points] <= _GAP + 1
        recent &= (trace.unseen[points] == 1) | (trace.status[points] != PointStatus.LOST)
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
        self._lead_weak(trace, predicted, carried, local, before, now)
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
        trace.unseen[points[tracked]] = 0
        trace.spread_status(status)
        visible = inside[points]
        if visible.any():
            share = float(tracked.sum()) / float(visible.sum())
        else:
            followable = self._patches.followed(trace.slot, trace.keypoints)
            share = float(motion.ok and len(followable) == 0 and bool(inside.any()))
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


def shared_motion(
    expected: FloatArray, sightings: Sightings, gate: float, velocity: FloatArray
) -> tuple[LocalMotion, BoolArray]:
    """The motion that most keypoints share, by the best evidence that enough of them have.

    While a trace moves against the scene (``velocity``), a point that moves with the scene has
    slipped off its object, unless it looks as at first.
    """
    agree = np.zeros(len(expected), dtype=bool)
    slipped = agree
    if np.linalg.norm(velocity) > 2 * gate:
        own = np.linalg.norm(sightings.xy - expected, axis=1)
        slipped = (own < gate) & ~sightings.matched
    for evidence in (sightings.alike, sightings.consistent):
        voters = np.flatnonzero(evidence & ~slipped)
        if len(voters) == 0:
            continue
        moved = sightings.xy[voters] - expected[voters]
        middle = np.sort(moved, axis=0)[len(moved) // 2]
        slack = _SLACK * float(np.hypot(middle[0], middle[1]))
        local, _ = fit_local_motion(expected[voters], sightings.xy[voters], gate + slack)
        if local.support:
            error = expected + local.displacement(expected) - sightings.xy
            agree = np.linalg.norm(error, axis=1) < gate + slack
            return local, np.asarray(agree, dtype=bool)
    return no_motion(), agree
