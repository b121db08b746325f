"""Strokes of a pointer: by pen state where the device tells it, else by pauses."""

import math

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Carry, Labelled, Point
from tracevlm_ros.core.types import PenState

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
        self._resting: Point | None = None
        self._anchor: tuple[float, float] | None = None
        self._moved_ns = 0

    def push(self, point: Point) -> list[Labelled]:
        """See ``Detector.push``."""
        if point.sample.pen is PenState.UNKNOWN:
            return self._push_moving(point)
        decided = self._release_rest()
        if point.sample.pen is PenState.UP:
            self._in_stroke = False
            return [*decided, Labelled(point, 0)]
        if not self._in_stroke:
            self._begin()
        return [*decided, Labelled(point, self._label)]

    def interrupt(self) -> list[Labelled]:
        """See ``Detector.interrupt``."""
        self._in_stroke = False
        self._anchor = None
        return self._release_rest()

    def move(self, carry: Carry) -> None:
        """See ``Detector.move``."""
        if self._anchor is not None:
            self._anchor = carry(*self._anchor)
        if self._resting is not None:
            self._resting = self._resting.moved(carry)

    def _push_moving(self, point: Point) -> list[Labelled]:
        stamp_ns, x_deg, y_deg = point.sample.stamp_ns, point.x_deg, point.y_deg
        if self._anchor is None:
            self._anchor = (x_deg, y_deg)
            self._moved_ns = stamp_ns
        moved = math.hypot(x_deg - self._anchor[0], y_deg - self._anchor[1]) > self._pause_deg
        if moved:
            self._anchor = (x_deg, y_deg)
            self._moved_ns = stamp_ns
        if self._in_stroke:
            self._in_stroke = moved or stamp_ns - self._moved_ns < self._pause_ns
        elif moved:
            return self._begin_moving(point)
        if self._in_stroke:
            return [Labelled(point, self._label)]
        decided = self._release_rest()
        self._resting = point
        return decided

    def _begin_moving(self, point: Point) -> list[Labelled]:
        self._begin()
        rest, self._resting = self._resting, None
        first = [] if rest is None else [Labelled(rest, self._label)]
        return [*first, Labelled(point, self._label)]

    def _begin(self) -> None:
        self._label += 1
        self._in_stroke = True

    def _release_rest(self) -> list[Labelled]:
        rest, self._resting = self._resting, None
        return [] if rest is None else [Labelled(rest, 0)]
