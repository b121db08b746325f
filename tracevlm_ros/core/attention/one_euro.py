"""The one-euro filter (Casiez et al. 2012): smooth when slow, prompt when fast."""

import math
from dataclasses import dataclass

from tracevlm_ros.core.settings import require_settings, setting

NS_PER_S = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class OneEuroConfig:
    """Cut-off frequencies of the filter."""

    min_cutoff_hz: float = setting(2.0, "Cut-off of a point at rest.", 0.01, 1000.0)
    beta: float = setting(
        20.0, "Rise of the cut-off, Hz per long side of the image per second.", 0.0, 10_000.0
    )
    speed_cutoff_hz: float = setting(
        5.0, "Cut-off of the speed by which the first one rises.", 0.01, 1000.0
    )

    def __post_init__(self) -> None:
        require_settings(self, "geometry.filter")


class OneEuroFilter:
    """Filters points in pixels; for geometry only, never for segmentation (it moves onsets)."""

    def __init__(self, config: OneEuroConfig, long_side_px: float) -> None:
        self._config = config
        self._scale = 1.0 / long_side_px
        self.restart()

    def restart(self) -> None:
        """The next point stands for itself: a new stroke, fixation or gap begins."""
        self._stamp_ns: int | None = None
        self._x = self._y = 0.0
        self._speed_x = self._speed_y = 0.0

    def add(self, stamp_ns: int, x: float, y: float) -> tuple[float, float]:
        """Filter one point; stamps must rise (a repeated stamp returns the last result)."""
        if self._stamp_ns is None:
            self._stamp_ns, self._x, self._y = stamp_ns, x, y
            return x, y
        elapsed_s = (stamp_ns - self._stamp_ns) / NS_PER_S
        if elapsed_s <= 0:
            return self._x, self._y
        self._stamp_ns = stamp_ns
        share = _share(self._config.speed_cutoff_hz, elapsed_s)
        self._speed_x += share * ((x - self._x) / elapsed_s - self._speed_x)
        self._speed_y += share * ((y - self._y) / elapsed_s - self._speed_y)
        speed = math.hypot(self._speed_x, self._speed_y) * self._scale
        share = _share(self._config.min_cutoff_hz + self._config.beta * speed, elapsed_s)
        self._x += share * (x - self._x)
        self._y += share * (y - self._y)
        return self._x, self._y


def _share(cutoff_hz: float, elapsed_s: float) -> float:
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff_hz * elapsed_s))
