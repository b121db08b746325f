"""A running estimate of the tracker's noise, to which thresholds are scaled."""

from collections import deque

import numpy as np

from tracevlm_ros.core.attention.detector import Carry

HISTORY = 128
REFRESH_EVERY = 8
# The median of |difference of two normal samples| is 0.6745 * sqrt(2) standard deviations.
MEDIAN_TO_SIGMA = 1.0 / (0.6745 * 2.0**0.5)


class NoiseEstimate:
    """Standard deviation of one axis from the median absolute difference of successive samples.

    Fixations last far longer than saccades, so the median sees noise and not movement. Starts at
    ``initial`` and stays there until 16 differences are known.
    """

    def __init__(self, initial: float) -> None:
        self._differences: deque[float] = deque(maxlen=2 * HISTORY)
        self._previous: tuple[float, float] | None = None
        self._count = 0
        self.sigma = initial

    def add(self, x: float, y: float) -> None:
        """Take one position, in any unit; ``sigma`` has the same."""
        if self._previous is not None:
            self._differences.append(abs(x - self._previous[0]))
            self._differences.append(abs(y - self._previous[1]))
            self._count += 1
            if self._count >= 16 and self._count % REFRESH_EVERY == 0:
                self.sigma = float(np.median(self._differences)) * MEDIAN_TO_SIGMA
        self._previous = (x, y)

    def move(self, carry: Carry) -> None:
        """The camera moved: the last position with it."""
        if self._previous is not None:
            self._previous = carry(*self._previous)

    def interrupt(self) -> None:
        """The next position does not follow the last one."""
        self._previous = None
