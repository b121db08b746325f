"""Fixations by velocity with hysteresis (I-VT), for rates above about 120 Hz."""

import math
from collections import deque
from typing import NamedTuple

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Labelled
from tracevlm_ros.core.attention.noise import NoiseEstimate
from tracevlm_ros.core.types import GazeSample

NS_PER_MS = 1_000_000
NS_PER_S = 1e9
MIN_SAMPLES = 3
NOISE_START = 4.0
NOISE_END = 2.5


class _Point(NamedTuple):
    sample: GazeSample
    x: float
    y: float


class _Speed(NamedTuple):
    deg_s: float
    sigma: float


class VelocityDetector:
    """Speed at a sample is that between the means of the half baselines before and after it.

    So each sample is judged half a baseline late. A saccade starts above ``saccade_start_deg_s``
    and ends below ``saccade_end_deg_s``, both raised with the noise; slow samples become a fixation
    when they last ``min_fixation_ms``, and then come out together.
    """

    def __init__(self, config: TraceConfig, noise: NoiseEstimate) -> None:
        self._half_ns = round(config.velocity_baseline_ms * NS_PER_MS / 2)
        self._min_ns = round(config.min_fixation_ms * NS_PER_MS)
        self._start_deg_s = config.saccade_start_deg_s
        self._end_deg_s = config.saccade_end_deg_s
        self._noise = noise
        self._window: deque[_Point] = deque()
        self._judged = 0
        self._is_fast = True
        self._slow: list[GazeSample] = []
        self._label = 0
        self._in_fixation = False

    def push(self, sample: GazeSample, x_deg: float, y_deg: float) -> list[Labelled]:
        """See ``Detector.push``."""
        self._window.append(_Point(sample, x_deg, y_deg))
        decided: list[Labelled] = []
        while self._judged < len(self._window):
            point = self._window[self._judged]
            if sample.stamp_ns - point.sample.stamp_ns < self._half_ns:
                break
            decided += self._judge(point, self._judged)
            self._judged += 1
        self._forget(sample.stamp_ns)
        return decided

    def interrupt(self) -> list[Labelled]:
        """See ``Detector.interrupt``."""
        decided: list[Labelled] = []
        for index in range(self._judged, len(self._window)):
            decided += self._judge(self._window[index], index)
        decided += [Labelled(sample, 0) for sample in self._slow]
        self._slow.clear()
        self._window.clear()
        self._judged = 0
        self._is_fast = True
        self._in_fixation = False
        return decided

    def _judge(self, point: _Point, index: int) -> list[Labelled]:
        speed = self._speed_at(index)
        start = max(self._start_deg_s, NOISE_START * speed.sigma)
        end = max(self._end_deg_s, NOISE_END * speed.sigma)
        self._is_fast = speed.deg_s > (end if self._is_fast else start)
        if self._is_fast:
            decided = [Labelled(sample, 0) for sample in (*self._slow, point.sample)]
            self._slow.clear()
            self._in_fixation = False
            return decided
        if self._in_fixation:
            return [Labelled(point.sample, self._label)]
        self._slow.append(point.sample)
        lasted_ns = point.sample.stamp_ns - self._slow[0].stamp_ns
        if lasted_ns < self._min_ns or len(self._slow) < MIN_SAMPLES:
            return []
        self._label += 1
        self._in_fixation = True
        decided = [Labelled(sample, self._label) for sample in self._slow]
        self._slow.clear()
        return decided

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


def _mean(points: list[_Point], origin_ns: int) -> tuple[float, float, float]:
    count = len(points)
    return (
        sum(point.x for point in points) / count,
        sum(point.y for point in points) / count,
        sum(point.sample.stamp_ns - origin_ns for point in points) / count,
    )
