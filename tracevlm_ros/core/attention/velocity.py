"""Fixations by velocity with hysteresis (I-VT), for rates above about 120 Hz."""

import math
from collections import deque
from typing import NamedTuple

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Carry, Labelled, Point
from tracevlm_ros.core.attention.noise import NoiseEstimate

NS_PER_MS = 1_000_000
NS_PER_S = 1e9
MIN_SAMPLES = 3
NOISE_START = 4.0
NOISE_END = 2.5
NOISE_SHIFT = 4.5
DRIFT_START = 3.0
DRIFT_END = 2.0
SHIFT_SHARE = 0.75
CENTRE_NS = 120 * NS_PER_MS


class _Speed(NamedTuple):
    deg_s: float
    sigma: float


class VelocityDetector:
    """Speed at a sample is that between the means of the half baselines before and after it.

    So each sample is judged half a baseline late. A saccade starts above ``saccade_start_deg_s``
    and ends below ``saccade_end_deg_s``, both raised with the noise; a fixation also ends when its
    place has shifted. Slow samples become a fixation when they last ``min_fixation_ms``, and then
    come out together.
    """

    def __init__(self, config: TraceConfig, noise: NoiseEstimate) -> None:
        self._half_ns = round(config.velocity_baseline_ms * NS_PER_MS / 2)
        self._min_ns = round(config.min_fixation_ms * NS_PER_MS)
        self._start_deg_s = config.saccade_start_deg_s
        self._end_deg_s = config.saccade_end_deg_s
        self._shift_deg = SHIFT_SHARE * config.dispersion_deg
        self._noise = noise
        self._window: deque[Point] = deque()
        self._judged = 0
        self._is_fast = True
        self._slow: list[Point] = []
        self._recent: deque[Point] = deque()
        self._label = 0
        self._in_fixation = False

    def push(self, new: Point) -> list[Labelled]:
        """See ``Detector.push``."""
        newest_ns = new.sample.stamp_ns
        self._window.append(new)
        decided: list[Labelled] = []
        while self._judged < len(self._window):
            point = self._window[self._judged]
            if newest_ns - point.sample.stamp_ns < self._half_ns:
                break
            decided += self._judge(point, self._judged)
            self._judged += 1
        self._forget(newest_ns)
        return decided

    def interrupt(self) -> list[Labelled]:
        """See ``Detector.interrupt``."""
        decided: list[Labelled] = []
        for index in range(self._judged, len(self._window)):
            decided += self._judge(self._window[index], index)
        decided += [Labelled(point, 0) for point in self._slow]
        self._slow.clear()
        self._window.clear()
        self._judged = 0
        self._is_fast = True
        self._in_fixation = False
        return decided

    def move(self, carry: Carry) -> None:
        """See ``Detector.move``."""
        self._window = deque(point.moved(carry) for point in self._window)
        self._slow = [point.moved(carry) for point in self._slow]
        self._recent = deque(point.moved(carry) for point in self._recent)

    def _judge(self, point: Point, index: int) -> list[Labelled]:
        speed = self._speed_at(index)
        drift = self._noise.speed
        start = max(self._start_deg_s, NOISE_START * speed.sigma, DRIFT_START * drift)
        end = max(self._end_deg_s, NOISE_END * speed.sigma, DRIFT_END * drift)
        self._is_fast = speed.deg_s > (end if self._is_fast else start)
        if self._is_fast:
            decided = [Labelled(slow, 0) for slow in (*self._slow, point)]
            self._slow.clear()
            self._in_fixation = False
            return decided
        if self._in_fixation:
            self._remember(point)
            if not self._has_shifted():
                return [Labelled(point, self._label)]
            self._in_fixation = False
        self._slow.append(point)
        lasted_ns = point.sample.stamp_ns - self._slow[0].sample.stamp_ns
        if lasted_ns < self._min_ns or len(self._slow) < MIN_SAMPLES:
            return []
        self._label += 1
        self._in_fixation = True
        self._recent.clear()
        for slow in self._slow:
            self._remember(slow)
        decided = [Labelled(slow, self._label) for slow in self._slow]
        self._slow.clear()
        return decided

    def _remember(self, point: Point) -> None:
        self._recent.append(point)
        while point.sample.stamp_ns - self._recent[0].sample.stamp_ns > CENTRE_NS:
            self._recent.popleft()

    def _has_shifted(self) -> bool:
        """Is the mean of the last baseline off the mean of the fixation's 100 ms before it?

        Noise hides the speed of small saccades, never where they lead.
        """
        points = list(self._recent)
        newest_ns = points[-1].sample.stamp_ns
        split = next(
            index
            for index, point in enumerate(points)
            if newest_ns - point.sample.stamp_ns <= 2 * self._half_ns
        )
        earlier, latest = points[:split], points[split:]
        if len(earlier) < len(latest):
            return False
        x0, y0, t0 = _mean(earlier, newest_ns)
        x1, y1, t1 = _mean(latest, newest_ns)
        spread = math.sqrt(1 / len(earlier) + 1 / len(latest)) * self._noise.sigma
        drifted = DRIFT_START * self._noise.speed * (t1 - t0) / NS_PER_S
        limit = max(self._shift_deg, NOISE_SHIFT * spread, drifted)
        return math.hypot(x1 - x0, y1 - y0) > limit

    def _speed_at(self, index: int) -> _Speed:
        """Speed and its standard deviation per axis; at an end of the window from one side."""
        points = list(self._window)
        stamp_ns = points[index].sample.stamp_ns
        first = max(index - 1, 0)
        while first > 0 and stamp_ns - points[first - 1].sample.stamp_ns <= self._half_ns:
            first -= 1
        last = min(index + 1, len(points) - 1)
        while (
            last < len(points) - 1 and points[last + 1].sample.stamp_ns - stamp_ns <= self._half_ns
        ):
            last += 1
        before, after = points[first : index + 1], points[index : last + 1]
        x0, y0, t0 = _mean(before, stamp_ns)
        x1, y1, t1 = _mean(after, stamp_ns)
        elapsed_s = (t1 - t0) / NS_PER_S
        if elapsed_s <= 0:
            return _Speed(0.0, 0.0)
        spread = math.sqrt(1 / len(before) + 1 / len(after)) * self._noise.sigma
        return _Speed(math.hypot(x1 - x0, y1 - y0) / elapsed_s, spread / elapsed_s)

    def _forget(self, newest_ns: int) -> None:
        while self._judged and (
            newest_ns - self._window[0].sample.stamp_ns > 2 * self._half_ns + self._half_ns
        ):
            self._window.popleft()
            self._judged -= 1


def _mean(points: list[Point], origin_ns: int) -> tuple[float, float, float]:
    count = len(points)
    return (
        sum(point.x_deg for point in points) / count,
        sum(point.y_deg for point in points) / count,
        sum(point.sample.stamp_ns - origin_ns for point in points) / count,
    )
