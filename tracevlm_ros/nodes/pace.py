"""Bag time against wall time: rate, pause, and the ticks of /clock."""

import threading
import time
from collections.abc import Callable


class Pace:
    """``begin`` says which bag time is now; from then on bag time runs at the rate given last.

    ``pause`` and ``toggle`` may be called from another thread, all else from the playing thread.
    """

    def __init__(self, wall_s: Callable[[], float] = time.monotonic) -> None:
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._is_paused = False
        self._bag_ns = 0.0
        self._since_s = wall_s()
        self._rate = 1.0
        self._last_tick_s = float("-inf")

    def begin(self, bag_ns: int) -> None:
        """Bag time is ``bag_ns`` now."""
        with self._lock:
            self._bag_ns = float(bag_ns)
            self._since_s = self._wall_s()

    def pause(self, is_paused: bool) -> None:
        """Hold bag time, or let it run on."""
        with self._lock:
            self._advance()
            self._is_paused = is_paused

    def toggle(self) -> bool:
        """Pause, or go on after a pause; whether it is paused now."""
        with self._lock:
            self._advance()
            self._is_paused = not self._is_paused
            return self._is_paused

    def now_ns(self, rate: float) -> int:
        """Bag time now; from now on it runs at ``rate``."""
        with self._lock:
            self._advance()
            self._rate = rate
            return int(self._bag_ns)

    def _advance(self) -> None:
        now_s = self._wall_s()
        if not self._is_paused:
            self._bag_ns += (now_s - self._since_s) * 1e9 * self._rate
        self._since_s = now_s

    def seconds_until(self, bag_ns: int) -> float:
        """Wall seconds until bag time is ``bag_ns``; infinite while paused."""
        with self._lock:
            self._advance()
            left_ns = bag_ns - self._bag_ns
            if left_ns <= 0:
                return 0.0
            return float("inf") if self._is_paused else left_ns / 1e9 / self._rate

    def tick_is_due(self, clock_hz: float) -> bool:
        """True at most ``clock_hz`` times per wall second."""
        if self.until_tick_s(clock_hz) > 0:
            return False
        self._last_tick_s = self._wall_s()
        return True

    def until_tick_s(self, clock_hz: float) -> float:
        """Wall seconds until the next tick is due."""
        return self._last_tick_s + 1.0 / clock_hz - self._wall_s()
