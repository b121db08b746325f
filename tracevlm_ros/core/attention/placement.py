"""Where the open trace is: whether a new fixation or stroke still belongs to it."""

import math
from collections import deque

from tracevlm_ros.core.attention.detector import Carry

MAX_PLACES = 16


class Placement:
    """Centres of the trace's latest segments and of the trace as a whole, in degrees.

    A place joins when it is within ``near_deg`` of one of the latest ``MAX_PLACES`` segments and
    within ``extent_deg`` of the trace's centre, so that a chain of small steps cannot wander over
    the whole image.
    """

    def __init__(self, near_deg: float, extent_deg: float) -> None:
        self._near_deg = near_deg
        self._extent_deg = extent_deg
        self._places: deque[_RunningMean] = deque(maxlen=MAX_PLACES)
        self._whole = _RunningMean()

    def joins(self, x_deg: float, y_deg: float) -> bool:
        """Does a segment around this point belong to the trace?"""
        if self._whole.distance(x_deg, y_deg) > self._extent_deg:
            return False
        return any(place.distance(x_deg, y_deg) <= self._near_deg for place in self._places)

    def move(self, carry: Carry) -> None:
        """The camera moved: the trace's places with it."""
        for mean in (self._whole, *self._places):
            mean.move(carry)

    def begin_segment(self) -> None:
        """The next points are a fixation or stroke of their own."""
        self._places.append(_RunningMean())

    def add(self, x_deg: float, y_deg: float) -> None:
        """Take one sample of the newest segment."""
        self._places[-1].add(x_deg, y_deg)
        self._whole.add(x_deg, y_deg)


class _RunningMean:
    def __init__(self) -> None:
        self._count = 0
        self._x = 0.0
        self._y = 0.0

    def add(self, x: float, y: float) -> None:
        self._count += 1
        self._x += (x - self._x) / self._count
        self._y += (y - self._y) / self._count

    def move(self, carry: Carry) -> None:
        self._x, self._y = carry(self._x, self._y)

    def distance(self, x: float, y: float) -> float:
        return math.hypot(x - self._x, y - self._y)
