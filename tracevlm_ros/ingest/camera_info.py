"""sensor_msgs/CameraInfo -> the lens. Only fields are read, so any message class will do."""

from typing import Any

from tracevlm_ros.core.attention.view import known_focal
from tracevlm_ros.core.lens import Lens


def lens_of(message: Any) -> Lens | None:
    """The lens that a CameraInfo tells of; None of an uncalibrated camera.

    ``k`` and ``roi`` are in pixels of the whole sensor (``width`` x ``height``), before binning; a
    ``roi`` of zeros is all of it, a binning of 0 is 1. A message without a size is taken to tell of
    the images as they come.
    """
    focal_px = known_focal(float(message.k[0]))
    if focal_px is None:
        return None
    size_hw = window_hw(message)
    if min(size_hw) <= 0:
        return Lens(focal_px)
    binning_yx = max(1, int(message.binning_y)), max(1, int(message.binning_x))
    return Lens(focal_px, size_hw, binning_yx)


def window_hw(message: Any) -> tuple[int, int]:
    """Size of the part of the sensor that a CameraInfo's images show, before binning."""
    roi = message.roi
    part = roi if roi.width and roi.height else message
    return int(part.height), int(part.width)


def matrix_of(message: Any) -> list[float]:
    """``k`` with its centre counted from the corner of that part, nine values row by row."""
    matrix = [float(value) for value in message.k]
    if message.roi.width and message.roi.height:
        matrix[2] -= int(message.roi.x_offset)
        matrix[5] -= int(message.roi.y_offset)
    return matrix
