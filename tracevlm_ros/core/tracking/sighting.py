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
    """Follow the keypoints, then compare them with their first sight.

    Those that do not match where the flow led are compared at ``guess``: something that moves
    close by can mislead the flow. The way back is checked, and both ends compared, only for
    those that match nowhere.
    """
    slots, start, guess = followed
    flow = _follow(before.work, now.work, before.to_work(start), config, now, guess)
    found = flow.found
    xy = np.where(found[:, None], now.to_full(flow.xy), guess)
    reach = _ALIGN_REACH_PX / float(now.scale.mean())
    aligned = patches.align(now.grey, slots, xy, reach)
    led_astray = np.flatnonzero(aligned.score < config.match_score)
    if len(led_astray):
        there = patches.align(now.grey, slots[led_astray], guess[led_astray], reach)
        better = there.score >= config.match_score
        aligned.xy[led_astray[better]] = there.xy[better]
        aligned.score[led_astray[better]] = there.score[better]
    matched = (aligned.score >= config.match_score) & within(aligned.xy, now.grey.shape)
    consistent, alike = matched.copy(), matched.copy()
    unsure = np.flatnonzero(~matched & found & within(xy, now.grey.shape))
    if len(unsure):
        origin = before.to_work(start[unsure])
        back = _follow(now.work, before.work, now.to_work(xy[unsure]), config)
        gap = np.linalg.norm(back.xy - origin, axis=1)
        consistent[unsure] = back.found & (gap < config.round_trip_px)
        same = likeness(before.grey, start[unsure], now.grey, xy[unsure], config.template_px)
        alike[unsure] = consistent[unsure] & (same >= config.match_score)
    return Sightings(
        np.where(matched[:, None], aligned.xy, xy), aligned.score, matched, consistent, alike
    )


def _follow(
    before: Image,
    after: Image,
    points: FloatArray,
    config: TrackingConfig,
    now: Pictures | None = None,
    guess: FloatArray | None = None,
) -> Flow:
    aim = None if now is None or guess is None else now.to_work(guess)
    return follow(before, after, points, aim, window_px=config.window_px, levels=config.levels)
