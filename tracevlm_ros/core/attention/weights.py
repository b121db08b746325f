"""Weights of trace segments: by dwell and speed while no words exist (METHOD.md, live weights)."""

import math

from tracevlm_ros.core.attention.detector import Carry, scaled_by

MIN_WEIGHT = 0.2
BLOCK_NS = 50_000_000
NS_PER_S = 1e9


def live_weight(dwell_s: float, speed: float, dwell_scale_s: float, speed_scale: float) -> float:
    """``0.2 + 0.8 (0.6 (1 - exp(-dwell / scale)) + 0.4 / (1 + (v / v0)^2))``, in 0.2..1.

    ``speed`` and ``speed_scale`` share one unit, ``dwell_s`` and ``dwell_scale_s`` are seconds.
    """
    dwelt = 1.0 - math.exp(-dwell_s / dwell_scale_s)
    slow = 1.0 / (1.0 + (speed / speed_scale) ** 2)
    return MIN_WEIGHT + (1.0 - MIN_WEIGHT) * (0.6 * dwelt + 0.4 * slow)


class SegmentPace:
    """Dwell and mean speed of one segment while it grows.

    Speed is the length of the path through the means of 50 ms blocks: noise of single samples would
    pass for movement.
    """

    def __init__(self) -> None:
        self._start_ns = 0
        self._block_start_ns = 0
        self._block: list[float] = [0.0, 0.0, 0.0]
        self._mean: tuple[float, float] | None = None
        self._mean_ns = 0
        self._first_mean_ns = 0
        self._length = 0.0
        self._stamp_ns = 0
        self._count = 0

    @property
    def dwell_s(self) -> float:
        """Seconds from the first to the newest sample."""
        return (self._stamp_ns - self._start_ns) / NS_PER_S

    @property
    def speed(self) -> float:
        """Units per second along the path; 0 until two blocks are full."""
        elapsed_ns = self._mean_ns - self._first_mean_ns
        return self._length * NS_PER_S / elapsed_ns if elapsed_ns > 0 else 0.0

    def add(self, stamp_ns: int, x: float, y: float) -> None:
        """Take the next sample of the segment."""
        if self._count == 0:
            self._start_ns = self._block_start_ns = stamp_ns
        elif stamp_ns - self._block_start_ns >= BLOCK_NS:
            self._end_block(stamp_ns)
        self._count += 1
        self._stamp_ns = stamp_ns
        self._block[0] += 1
        self._block[1] += x
        self._block[2] += y

    def move(self, carry: Carry) -> None:
        """The camera moved: the newest positions with it, so that only the gaze has speed."""
        count, sum_x, sum_y = self._block
        if count:
            x, y = carry(sum_x / count, sum_y / count)
            self._block = [count, count * x, count * y]
        if self._mean is not None:
            self._mean = carry(*self._mean)

    def rescale(self, factor: float) -> None:
        """The unit changed: every length is ``factor`` times as much in the new one."""
        self.move(scaled_by(factor))
        self._length *= factor

    def _end_block(self, stamp_ns: int) -> None:
        count, sum_x, sum_y = self._block
        mean = (sum_x / count, sum_y / count)
        middle_ns = (self._block_start_ns + self._stamp_ns) // 2
        if self._mean is None:
            self._first_mean_ns = middle_ns
        else:
            self._length += math.hypot(mean[0] - self._mean[0], mean[1] - self._mean[1])
        self._mean, self._mean_ns = mean, middle_ns
        self._block = [0.0, 0.0, 0.0]
        self._block_start_ns = stamp_ns
