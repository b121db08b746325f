"""Messages for bags, made without ROS: the fields that this package writes, named as in .msg."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample, Image, Word
from tracevlm_ros.ingest.message_types import message_class

_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


def time_message(stamp_ns: int) -> Any:
    return message_class("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 1_000_000_000))


def header(stamp_ns: int, frame_id: str) -> Any:
    return message_class("std_msgs/msg/Header")(time_message(stamp_ns), frame_id)


def jpeg_image(image_rgb: Image, quality: int, stamp_ns: int, frame_id: str) -> Any:
    """CompressedImage of uint8 (H, W, 3) RGB."""
    bgr = np.ascontiguousarray(image_rgb[:, :, ::-1])
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"no JPEG of an image of {image_rgb.shape}; JPEG takes at most 65535 px")
    compressed: Any = message_class("sensor_msgs/msg/CompressedImage")
    pixels = np.asarray(data, np.uint8).reshape(-1)
    return compressed(header(stamp_ns, frame_id), "rgb8; jpeg compressed bgr8", pixels)


def picture_file(path: Path, stamp_ns: int, frame_id: str) -> Any:
    """CompressedImage that holds the bytes of a JPEG or PNG file."""
    compressed: Any = message_class("sensor_msgs/msg/CompressedImage")
    data = np.fromfile(path, np.uint8)
    return compressed(header(stamp_ns, frame_id), _FORMATS[path.suffix.lower()], data)


def gaze(sample: GazeSample, frame_id: str, source: str) -> Any:
    """GazeSample in pixels."""
    kind: Any = message_class("tracevlm_msgs/msg/GazeSample")
    return kind(
        header(sample.stamp_ns, frame_id),
        float(sample.x_px),
        float(sample.y_px),
        kind.UNIT_PIXELS,
        float(sample.confidence),
        int(sample.pen),
        source,
    )


def word(spoken: Word, frame_id: str) -> Any:
    """Word that was recognised when it ended."""
    kind: Any = message_class("tracevlm_msgs/msg/Word")
    ends = max(spoken.start_ns, spoken.end_ns)
    start, end = time_message(spoken.start_ns), time_message(ends)
    return kind(header(ends, frame_id), spoken.text, start, end)
