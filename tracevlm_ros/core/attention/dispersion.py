"""Fixations by online dispersion (I-DT), for rates up to about 120 Hz."""

from collections import deque

import numpy as np

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Carry, Labelled, Point
from tracevlm_ros.core.attention.noise import NoiseEstimate

NS_PER_MS = 1_000_000
MIN_SAMPLES = 3
CENTRE_NS = 100 * NS_PER_MS
MAX_OUTLIERS = 1
DRIFT_FACTOR = 3.0
LANDED_SHARE = 0.65
NS_PER_S = 1e9


class DispersionDetector:
    """A fixation begins when ``min_fixation_ms`` of samples lie close together.

    Its samples then come out together, so the onset is that of the first one although it is
    confirmed later. It ends when two samples in a row leave the neighbourhood of its last 100 ms; a
    single one that strays belongs to none.
    """

    def __init__(self, config: TraceConfig, noise: NoiseEstimate) -> None:
        self._min_ns = round(config.min_fixation_ms * NS_PER_MS)
        self._base_deg = config.dispersion_deg
        self._factor = config.noise_factor
        self._noise = noise
        self._candidates: deque[Point] = deque()
        self._recent: deque[Point] = deque()
        self._strays: list[Point] = []
        self._label = 0
        self._in_fixation = False

    @property
    def limit_deg(self) -> float:
        """Largest x range + y range of a fixation's first samples."""
        drifted_deg = DRIFT_FACTOR * self._noise.speed * self._min_ns / NS_PER_S
        return max(self._base_deg, self._factor * self._noise.sigma, drifted_deg)

    @property
    def radius_deg(self) -> float:
        """How far from the recent centre a sample of the fixation may lie."""
        return 0.5 * self.limit_deg

    def push(self, point: Point) -> list[Labelled]:
        """See ``Detector.push``."""
        if not self._in_fixation:
            return self._search(point)
        if self._is_near(point):
            decided = [Labelled(stray, 0) for stray in self._strays]
            self._strays.clear()
            self._remember(point)
            return [*decided, Labelled(point, self._label)]
        self._strays.append(point)
        if len(self._strays) <= MAX_OUTLIERS:
            return []
        self._in_fixation = False
        strays, self._strays = self._strays, []
        return [labelled for stray in strays for labelled in self._search(stray)]

    def interrupt(self) -> list[Labelled]:
        """See ``Detector.interrupt``; unconfirmed samples belong to no fixation."""
        held = [*self._strays, *self._candidates]
        self._strays.clear()
        self._candidates.clear()
        self._in_fixation = False
        return [Labelled(point, 0) for point in held]

    def move(self, carry: Carry) -> None:
        """See ``Detector.move``."""
        self._candidates = deque(point.moved(carry) for point in self._candidates)
        self._recent = deque(point.moved(carry) for point in self._recent)
        self._strays = [point.moved(carry) for point in self._strays]

    def _search(self, point: Point) -> list[Labelled]:
        candidates = self._candidates
        candidates.append(point)
        decided = []
        while len(candidates) > 1 and _extent(candidates) > self.limit_deg:
            decided.append(Labelled(candidates.popleft(), 0))
        lasted_ns = point.sample.stamp_ns - candidates[0].sample.stamp_ns
        if lasted_ns < self._min_ns or len(candidates) < MIN_SAMPLES:
            return decided
        return decided + self._confirm()

    def _confirm(self) -> list[Labelled]:
        points = list(self._candidates)
        self._candidates.clear()
        onset = _landing(points, LANDED_SHARE * self.radius_deg)
        self._label += 1
        self._in_fixation = True
        self._recent.clear()
        for point in points[onset:]:
            self._remember(point)
        return [
            Labelled(point, self._label if index >= onset else 0)
            for index, point in enumerate(points)
        ]

    def _remember(self, point: Point) -> None:
        self._recent.append(point)
        oldest_ns = point.sample.stamp_ns - CENTRE_NS
        while len(self._recent) > MIN_SAMPLES and self._recent[0].sample.stamp_ns < oldest_ns:
            self._recent.popleft()

    def _is_near(self, point: Point) -> bool:
        count = len(self._recent)
        x = sum(recent.x_deg for recent in self._recent) / count
        y = sum(recent.y_deg for recent in self._recent) / count
        return float(np.hypot(point.x_deg - x, point.y_deg - y)) <= self.radius_deg


def _extent(points: deque[Point]) -> float:
    xs = [point.x_deg for point in points]
    ys = [point.y_deg for point in points]
    return max(xs) - min(xs) + max(ys) - min(ys)


def _landing(points: list[Point], radius: float) -> int:
    """How many samples at the front are still on their way to where the later half is."""
    half = len(points) // 2
    later = np.array([(point.x_deg, point.y_deg) for point in points[half:]])
    x, y = np.median(later, axis=0)
    landed = (i for i in range(half) if np.hypot(points[i].x_deg - x, points[i].y_deg - y) < radius)
    return next(landed, half)
