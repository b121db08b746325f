"""Strokes of a pointer: by pen state where the device tells it, else by pauses."""

import math

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Labelled
from tracevlm_ros.core.types import GazeSample, PenState

NS_PER_MS = 1_000_000


class StrokeDetector:
    """Pen down is a stroke, pen up is none. Without pen state movement is a stroke.

    Such a stroke begins at the rest before the movement and ends when the pointer has stayed within
    ``pause_deg`` for ``pause_ms``. Only the last sample of a rest is ever held back.
    """

    def __init__(self, config: TraceConfig) -> None:
        self._pause_ns = round(config.pause_ms * NS_PER_MS)
        self._pause_deg = config.pause_deg
        self._label = 0
        self._in_stroke = False
        self._resting: GazeSample | None = None
        self._anchor: tuple[float, float] | None = None
        self._moved_ns = 0

    def push(self, sample: GazeSample, x_deg: float, y_deg: float) -> list[Labelled]:
        """See ``Detector.push``."""
        if sample.pen is PenState.UNKNOWN:
            return self._push_moving(sample, x_deg, y_deg)
        decided = self._release_rest()
        if sample.pen is PenState.UP:
            self._in_stroke = False
            return [*decided, Labelled(sample, 0)]
        if not self._in_stroke:
            self._begin()
        return [*decided, Labelled(sample, self._label)]

    def interrupt(self) -> list[Labelled]:
        """See ``Detector.interrupt``."""
        self._in_stroke = False
        self._anchor = None
        return self._release_rest()

    def _push_moving(self, sample: GazeSample, x_deg: float, y_deg: float) -> list[Labelled]:
        if self._anchor is None:
            self._anchor = (x_deg, y_deg)
            self._moved_ns = sample.stamp_ns
        moved = math.hypot(x_deg - self._anchor[0], y_deg - self._anchor[1]) > self._pause_deg
        if moved:
            self._anchor = (x_deg, y_deg)
            self._moved_ns = sample.stamp_ns
        if self._in_stroke:
            self._in_stroke = moved or sample.stamp_ns - self._moved_ns < self._pause_ns
        elif moved:
            return self._begin_moving(sample)
        if self._in_stroke:
            return [Labelled(sample, self._label)]
        decided = self._release_rest()
        self._resting = sample
        return decided

    def _begin_moving(self, sample: GazeSample) -> list[Labelled]:
        self._begin()
        rest, self._resting = self._resting, None
        first = [] if rest is None else [Labelled(rest, self._label)]
        return [*first, Labelled(sample, self._label)]

    def _begin(self) -> None:
        self._label += 1
        self._in_stroke = True

    def _release_rest(self) -> list[Labelled]:
        rest, self._resting = self._resting, None
        return [] if rest is None else [Labelled(rest, 0)]
