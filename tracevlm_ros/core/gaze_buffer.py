"""Gaze of one stretch of time, sorted by stamp, handed out once and interpolated by stamp."""

import math
from bisect import bisect_left, bisect_right

from tracevlm_ros.core.types import GazeSample


def with_plain_loss(sample: GazeSample) -> GazeSample:
    """Any non-finite coordinate or confidence becomes one form of lost gaze: NaN, confidence 0."""
    if math.isfinite(sample.x_px) and math.isfinite(sample.y_px):
        if math.isfinite(sample.confidence):
            return sample
        return sample._replace(confidence=0.0)
    return sample._replace(x_px=math.nan, y_px=math.nan, confidence=0.0)


def interpolate(before: GazeSample, after: GazeSample, stamp_ns: int) -> GazeSample:
    """The straight way from ``before`` to ``after`` at ``stamp_ns``; pen state of ``before``."""
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    return GazeSample(
        stamp_ns,
        before.x_px + share * (after.x_px - before.x_px),
        before.y_px + share * (after.y_px - before.y_px),
        min(before.confidence, after.confidence),
        before.pen,
    )


class GazeBuffer:
    """Sorted samples that were not yet handed out, plus the last one that was.

    A sample ``window_ns`` or more behind the newest is refused as late, whatever was handed out
    meanwhile, so that acceptance depends on the gaze alone.
    """

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._stamps: list[int] = []
        self._samples: list[GazeSample] = []
        self._given: GazeSample | None = None
        self.watermark_ns = 0

    @property
    def held_count(self) -> int:
        """Samples not yet handed out."""
        return len(self._samples)

    def insert(self, sample: GazeSample) -> str | None:
        """Put ``sample`` in its place; a reason from the drop counters when one was refused.

        Of two samples with one stamp the more confident stays (then the greater coordinates), so
        that their order of arrival does not matter.
        """
        stamp_ns = sample.stamp_ns
        if self._given is not None and stamp_ns == self._given.stamp_ns:
            return "gaze_duplicate"
        place = bisect_left(self._stamps, stamp_ns)
        if place < len(self._stamps) and self._stamps[place] == stamp_ns:
            self._samples[place] = max(self._samples[place], sample, key=_preference)
            return "gaze_duplicate"
        if self.watermark_ns and stamp_ns <= self.watermark_ns - self._window_ns:
            return "gaze_late"
        if self._given is not None and stamp_ns < self._given.stamp_ns:
            return "gaze_late"
        self._stamps.insert(place, stamp_ns)
        self._samples.insert(place, sample)
        self.watermark_ns = max(self.watermark_ns, stamp_ns)
        return None

    def forget_oldest(self) -> None:
        """Drop the oldest sample that was not yet handed out."""
        del self._stamps[0], self._samples[0]

    def take_until(self, stamp_ns: int) -> tuple[GazeSample, ...]:
        """Hand out, once, everything up to and with ``stamp_ns``."""
        count = bisect_right(self._stamps, stamp_ns)
        taken = tuple(self._samples[:count])
        del self._stamps[:count], self._samples[:count]
        if taken:
            self._given = taken[-1]
        return taken

    def is_settled(self, stamp_ns: int, max_gap_ns: int) -> bool:
        """Can no sample come any more that would change ``take_until`` and ``at`` of this stamp?

        What is a window behind the newest sample is settled. The neighbour after ``stamp_ns`` has
        to be, too, where it is interpolated with: one in between may still be on its way.
        """
        settled_ns = self.watermark_ns - self._window_ns
        if settled_ns < stamp_ns:
            return False
        place = bisect_right(self._stamps, stamp_ns)
        before = self._samples[place - 1] if place else self._given
        if before is None or _is_lost(before) or before.stamp_ns >= stamp_ns:
            return True
        if settled_ns - before.stamp_ns >= max_gap_ns:
            return True
        return place < len(self._stamps) and self._stamps[place] <= settled_ns

    def at(self, stamp_ns: int, max_gap_ns: int) -> GazeSample | None:
        """Gaze at ``stamp_ns``, after ``take_until(stamp_ns)``.

        None where a neighbour is missing or lost, or both are more than ``max_gap_ns`` apart.
        """
        before = self._given
        if before is None or _is_lost(before) or before.stamp_ns > stamp_ns:
            return None
        if before.stamp_ns == stamp_ns:
            return before
        after = self._samples[0] if self._samples else None
        if after is None or _is_lost(after) or after.stamp_ns - before.stamp_ns > max_gap_ns:
            return None
        return interpolate(before, after, stamp_ns)


def _is_lost(sample: GazeSample) -> bool:
    return math.isnan(sample.x_px) or sample.confidence <= 0.0


def _preference(sample: GazeSample) -> tuple[bool, float, float, float, int]:
    present = not math.isnan(sample.x_px)
    x_px, y_px = (sample.x_px, sample.y_px) if present else (0.0, 0.0)
    return present, sample.confidence, x_px, y_px, int(sample.pen)
