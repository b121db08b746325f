"""Running estimates of what disturbs the gaze, to which thresholds are scaled."""

from collections import deque

import numpy as np

from tracevlm_ros.core.attention.detector import Carry, scaled_by

HISTORY = 128
REFRESH_EVERY = 8
FIRST_AFTER = 16
# The median of |difference of two normal samples| is 0.6745 * sqrt(2) standard deviations.
MEDIAN_TO_SIGMA = 1.0 / (0.6745 * 2.0**0.5)
# The median distance of two points of one place: that of Rayleigh's distribution, times sqrt(2).
DISTANCE_OF_NOISE = (2.0 * np.log(2.0)) ** 0.5 * 2.0**0.5
BASELINE_NS = 60_000_000
NS_PER_S = 1e9


class NoiseEstimate:
    """Noise of the tracker and drift of the head, told apart from saccades by medians.

    ``sigma``: standard deviation of one axis, from differences of successive samples.
    ``speed``: median speed over 60 ms, less what noise alone would show, in units per second: what
    is left of the head's movement.
    Fixations last far longer than saccades, so medians do not see these. ``sigma`` starts at
    ``initial``, ``speed`` at 0, until 16 differences are known.
    """

    def __init__(self, initial: float) -> None:
        self._differences: deque[float] = deque(maxlen=2 * HISTORY)
        self._speeds: deque[float] = deque(maxlen=2 * HISTORY)
        self._latest: deque[tuple[int, float, float]] = deque()
        self._count = 0
        self.sigma = initial
        self.speed = 0.0

    def add(self, stamp_ns: int, x: float, y: float) -> None:
        """Take one position, in any unit; ``sigma`` and ``speed`` have the same."""
        if self._latest:
            _, previous_x, previous_y = self._latest[-1]
            self._differences.append(abs(x - previous_x))
            self._differences.append(abs(y - previous_y))
            self._count += 1
        self._latest.append((stamp_ns, x, y))
        while len(self._latest) > 1 and stamp_ns - self._latest[1][0] >= BASELINE_NS:
            self._latest.popleft()
        first_ns, first_x, first_y = self._latest[0]
        if stamp_ns - first_ns >= BASELINE_NS:
            distance = float(np.hypot(x - first_x, y - first_y))
            self._speeds.append(distance * NS_PER_S / (stamp_ns - first_ns))
        if self._count >= FIRST_AFTER and self._count % REFRESH_EVERY == 0:
            self._refresh()

    def _refresh(self) -> None:
        self.sigma = float(np.median(self._differences)) * MEDIAN_TO_SIGMA
        if len(self._speeds) >= FIRST_AFTER:
            by_noise = DISTANCE_OF_NOISE * self.sigma * NS_PER_S / BASELINE_NS
            self.speed = max(float(np.median(self._speeds)) ** 2 - by_noise**2, 0.0) ** 0.5

    def move(self, carry: Carry) -> None:
        """The camera moved: the latest positions with it."""
        self._latest = deque((stamp_ns, *carry(x, y)) for stamp_ns, x, y in self._latest)

    def rescale(self, factor: float) -> None:
        """The unit changed: what was measured in the old one is ``factor`` times as much in it.

        The initial ``sigma`` is an assumption in the unit itself and stays.
        """
        self.move(scaled_by(factor))
        self._differences = deque((d * factor for d in self._differences), maxlen=2 * HISTORY)
        self._speeds = deque((speed * factor for speed in self._speeds), maxlen=2 * HISTORY)
        if self._count >= FIRST_AFTER:
            self.sigma *= factor
            self.speed *= factor

    def interrupt(self) -> None:
        """The next position does not follow the last one."""
        self._latest.clear()
