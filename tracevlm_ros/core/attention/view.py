"""The camera as far as segmentation cares: pixels and degrees."""

import math
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.attention.detector import Carry, Point
from tracevlm_ros.core.types import FloatArray, GazeSample

MIN_DEPTH = 1e-6


MIN_FOCAL_PX, MAX_FOCAL_PX = 1.0, 1e6


def known_focal(focal_px: float) -> float | None:
    """The focal length that a camera tells; None where it tells none.

    An uncalibrated camera says 0 (sensor_msgs/CameraInfo); NaN and lengths that no camera has are
    taken for the same.
    """
    return focal_px if MIN_FOCAL_PX <= focal_px <= MAX_FOCAL_PX else None


class View(NamedTuple):
    """Image size, focal length if known, and the scale at the image's centre."""

    size_hw: tuple[int, int]
    focal_px: float | None
    px_per_deg: float

    @classmethod
    def of(
        cls, size_hw: tuple[int, int], focal_px: float | None, assumed_view_deg: float
    ) -> "View":
        """Without a focal length the long side is taken to span ``assumed_view_deg``."""
        if focal_px is None:
            return cls(size_hw, None, max(size_hw) / assumed_view_deg)
        return cls(size_hw, focal_px, focal_px * math.pi / 180.0)

    @property
    def long_side_deg(self) -> float:
        """How many degrees the long side spans at the scale of the centre."""
        return max(self.size_hw) / self.px_per_deg

    def holds(self, x_px: float, y_px: float, margin: float) -> bool:
        """Is the point in the image, or no more than ``margin`` long sides off it?"""
        height, width = self.size_hw
        off_px = margin * max(height, width)
        return -off_px <= x_px <= width + off_px and -off_px <= y_px <= height + off_px

    def point(self, sample: GazeSample, seen_px: tuple[float, float] | None) -> Point:
        """The sample with its position in degrees."""
        x_px, y_px = (sample.x_px, sample.y_px) if seen_px is None else seen_px
        return Point(sample, x_px / self.px_per_deg, y_px / self.px_per_deg)

    def carry(self, homography: FloatArray) -> Carry:
        """The homography (3, 3) of pixels as a map of degrees.

        A point that it would take behind the camera stays where it is.
        """
        matrix = np.asarray(homography, np.float64).tolist()
        scale = self.px_per_deg

        def carried(x_deg: float, y_deg: float) -> tuple[float, float]:
            x_px, y_px = x_deg * scale, y_deg * scale
            x, y, depth = (row[0] * x_px + row[1] * y_px + row[2] for row in matrix)
            if depth <= MIN_DEPTH:
                return x_deg, y_deg
            return x / depth / scale, y / depth / scale

        return carried
