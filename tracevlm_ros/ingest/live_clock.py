"""From the time stamps of a live stream to a clock of this computer.

A live stream counts its own time (pts); frames reach us after a delay that varies. The smallest
difference between arrival and pts seen lately is the best guess of clock offset plus least delay,
so ``stamp = pts + smallest difference``: even spacing without the jitter of the network. A window
forgets old differences, so slow drift between the clocks is followed.
"""

import time
from collections import deque
from collections.abc import Callable

_WINDOW_NS = 10_000_000_000
_JUMP_NS = 1_000_000_000

Clock = Callable[[], int]


def wall_clock() -> Clock:
    """Nanoseconds since the Unix epoch that never jump: the monotonic clock plus a fixed offset.

    The offset is taken once, at the call; later steps of the system clock do not show.
    """
    offset = time.time_ns() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + offset


class StreamClock:
    """Stamps for the frames of one connection; feed every frame in order."""

    def __init__(self) -> None:
        self._differences: deque[tuple[int, int]] = deque()
        self._last_pts: int | None = None

    def stamp_ns(self, pts_ns: int | None, arrival_ns: int) -> int:
        """The stamp of a frame; without a pts, or where pts jumps, it starts afresh at arrival."""
        if pts_ns is None:
            return arrival_ns
        last, self._last_pts = self._last_pts, pts_ns
        if last is not None and not -_JUMP_NS < pts_ns - last < 10 * _JUMP_NS:
            self._differences.clear()
        difference = arrival_ns - pts_ns
        while self._differences and self._differences[-1][1] >= difference:
            self._differences.pop()
        self._differences.append((arrival_ns, difference))
        while self._differences[0][0] < arrival_ns - _WINDOW_NS:
            self._differences.popleft()
        return pts_ns + self._differences[0][1]
