"""The rate at which a source really sends, measured from stamps."""

from collections import deque
from statistics import median

HISTORY = 16
FIRST_AFTER = 8
NS_PER_S = 1e9


class RateEstimate:
    """Median interval of the latest 16, renewed every 16 samples (the first time after 8)."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Stamps start anew."""
        self._intervals: deque[int] = deque(maxlen=HISTORY)
        self._fresh = HISTORY - FIRST_AFTER
        self.rate_hz = 0.0

    def add(self, stamp_ns: int, previous_ns: int) -> bool:
        """Take one sample (``previous_ns`` 0: it follows none); true when ``rate_hz`` is new."""
        if previous_ns:
            self._intervals.append(stamp_ns - previous_ns)
            self._fresh += 1
        if self._fresh < HISTORY:
            return False
        self._fresh = 0
        self.rate_hz = NS_PER_S / median(self._intervals)
        return True
