"""What fixation and stroke detectors have in common."""

from typing import NamedTuple, Protocol

from tracevlm_ros.core.types import GazeSample


class Labelled(NamedTuple):
    """A sample and the number of the fixation or stroke it belongs to, from 1; 0 = to none."""

    sample: GazeSample
    label: int


class Detector(Protocol):
    """Labels samples online. Every sample comes back exactly once, in order, possibly later.

    Positions are taken in degrees, so that thresholds mean the same for every camera.
    """

    def push(self, sample: GazeSample, x_deg: float, y_deg: float) -> list[Labelled]:
        """Take one usable sample with a rising stamp; return what is decided by now."""

    def interrupt(self) -> list[Labelled]:
        """Gaze is lost or the stream pauses: decide everything held, and end the fixation."""
