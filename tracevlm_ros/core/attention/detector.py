"""What fixation and stroke detectors have in common."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from tracevlm_ros.core.types import GazeSample

Carry = Callable[[float, float], tuple[float, float]]
"""Takes a position of the last frame to the same place of the scene in the new frame."""


def scaled_by(factor: float) -> Carry:
    """Positions in another unit: the camera stays, a degree is another number of pixels."""
    return lambda x, y: (x * factor, y * factor)


class Point(NamedTuple):
    """A sample and where it lies in the newest frame, in degrees."""

    sample: GazeSample
    x_deg: float
    y_deg: float

    def moved(self, carry: Carry) -> "Point":
        """The same sample after the camera moved."""
        return Point(self.sample, *carry(self.x_deg, self.y_deg))


class Labelled(NamedTuple):
    """A point and the number of the fixation or stroke it belongs to, from 1; 0 = to none."""

    point: Point
    label: int


class Detector(Protocol):
    """Labels samples online. Every sample comes back exactly once, in order, possibly later.

    Positions are degrees, so that thresholds mean the same for every camera.
    """

    def push(self, point: Point) -> list[Labelled]:
        """Take one usable sample with a rising stamp; return what is decided by now."""

    def interrupt(self) -> list[Labelled]:
        """Gaze is lost or the stream pauses: decide everything held, and end the fixation."""

    def move(self, carry: Carry) -> None:
        """The camera moved: take every remembered position along."""
