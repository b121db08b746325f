"""What the new picture says of each followed keypoint, before any model of motion."""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.tracking.bounds import within
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.flow import Flow, follow
from tracevlm_ros.core.tracking.patches import PatchStore, likeness
from tracevlm_ros.core.tracking.pictures import Pictures
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, IntArray

_ALIGN_REACH_PX = 1.5


class Followed(NamedTuple):
    """M keypoints to look for: patch ``slots`` (M,), positions ``start`` (M, 2) in the previous
    frame and ``guess`` (M, 2) in the new one.
    """

    slots: IntArray
    start: FloatArray
    guess: FloatArray

    def part(self, where: IntArray) -> "Followed":
        """Some of the keypoints."""
        return Followed(self.slots[where], self.start[where], self.guess[where])


class Sightings(NamedTuple):
    """``xy`` (M, 2) pixels of the new frame; ``score`` (M,) correlation there with the first
    sight; ``matched`` (M,) that is good enough by itself; ``consistent`` (M,) the flow leads back
    to where it came from; ``alike`` (M,) and looks the same at both ends.
    """

    xy: FloatArray
    score: FloatArray
    matched: BoolArray
    consistent: BoolArray
    alike: BoolArray

    def part(self, where: slice) -> "Sightings":
        """The sightings of some keypoints in a row."""
        return Sightings(
            self.xy[where],
            self.score[where],
            self.matched[where],
            self.consistent[where],
            self.alike[where],
        )


def sight(
    followed: Followed,
    patches: PatchStore,
    before: Pictures,
    now: Pictures,
    config: TrackingConfig,
) -> Sightings:
    """Compare the keypoints with their first sight where they are expected, else follow them.

    What looks as at first where it was expected needs no flow. Of the others, the place where the
    flow leads is compared with the first sight, and the way back checked for those that match
    nowhere.
    """
    reach = _ALIGN_REACH_PX / float(now.scale.mean())
    xy, score = patches.align(now.grey, followed.slots, followed.guess, reach, rounds=1)
    found = np.ones(len(xy), dtype=bool)
    led = xy.copy()
    missed = np.flatnonzero(score < config.sure_score)
    if len(missed):
        slots, start, guess = followed.part(missed)
        flow = _follow(before.work, now.work, before.to_work(start), config, now.to_work(guess))
        found[missed] = flow.found
        led[missed] = np.where(flow.found[:, None], now.to_full(flow.xy), guess)
        aligned = patches.align(now.grey, slots, led[missed], reach)
        better = (score[missed] < config.match_score) | (aligned.score > score[missed])
        xy[missed[better]], score[missed[better]] = aligned.xy[better], aligned.score[better]
    matched = (score >= config.match_score) & within(xy, now.grey.shape)
    xy = np.where(matched[:, None], xy, led)
    consistent, alike = matched.copy(), matched.copy()
    unsure = np.flatnonzero(~matched & found & within(xy, now.grey.shape))
    if len(unsure):
        start = followed.start[unsure]
        consistent[unsure] = _leads_back(start, xy[unsure], before, now, config)
        same = likeness(before.grey, start, now.grey, xy[unsure], config.template_px)
        alike[unsure] = consistent[unsure] & (same >= config.match_score)
    return Sightings(xy, score, matched, consistent, alike)


def flow_of_weak(
    start: FloatArray, guess: FloatArray, before: Pictures, now: Pictures, config: TrackingConfig
) -> FloatArray:
    """Where points (M, 2) with too little structure to be found again went, by flow alone.

    ``guess`` stands where the flow does not lead back or leads too far from it.
    """
    flow = _follow(before.work, now.work, before.to_work(start), config, now.to_work(guess))
    xy = now.to_full(flow.xy)
    away = np.linalg.norm(flow.xy - now.to_work(guess), axis=1)
    good = flow.found & (away < 2 * config.gate_px) & _leads_back(start, xy, before, now, config)
    return np.where(good[:, None], xy, guess)


def _leads_back(
    start: FloatArray, end: FloatArray, before: Pictures, now: Pictures, config: TrackingConfig
) -> BoolArray:
    """Whether the flow from ``end`` (M, 2) in ``now`` ends near ``start`` in ``before``."""
    back = _follow(now.work, before.work, now.to_work(end), config)
    gap = np.linalg.norm(back.xy - before.to_work(start), axis=1)
    return np.asarray(back.found & (gap < config.round_trip_px), dtype=bool)


def _follow(
    before: Image,
    after: Image,
    points: FloatArray,
    config: TrackingConfig,
    guess: FloatArray | None = None,
) -> Flow:
    return follow(before, after, points, guess, window_px=config.window_px, levels=config.levels)
