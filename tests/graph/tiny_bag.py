"""A tiny bag: a textured square on a plain ground, and a gaze that rests on it."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import typestore

START_NS = 1_700_000_000_000_000_000
FRAME_NS = 50_000_000
GAZE_NS = 8_333_333
SIZE_HW = (120, 160)


class TinyBag(NamedTuple):
    """What is in the bag, for tests to compare with."""

    path: Path
    frame_stamps_ns: tuple[int, ...]
    gaze_count: int


def _stamp(stamp_ns: int) -> object:
    types = typestore().types
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)


def _header(stamp_ns: int) -> object:
    return typestore().types["std_msgs/msg/Header"](stamp=_stamp(stamp_ns), frame_id="scene")


def picture(index: int) -> np.ndarray:
    """Frame ``index``: the square moves a pixel every two frames, and begins anew at the edge."""
    rng = np.random.default_rng(3)
    image = rng.integers(90, 130, (*SIZE_HW, 3), dtype=np.uint8)
    square = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    square[..., 0] |= 128
    left = 60 + index // 2 % 60
    image[40:80, left : left + 40] = square
    return image


def write_tiny_bag(
    path: Path,
    frames: int = 30,
    *,
    compressed: bool = False,
    frame_ns: int = FRAME_NS,
    gaze_ns: int = GAZE_NS,
) -> TinyBag:
    """``frames`` images (at 20 Hz) with gaze (at 120 Hz), which reaches a little past the last
    one."""
    types = typestore().types
    events: list[tuple[int, str, object]] = []
    stamps = tuple(START_NS + frame_ns * (index + 1) for index in range(frames))
    for index, stamp_ns in enumerate(stamps):
        events.append(_image_event(index, stamp_ns, compressed=compressed))
    gaze = list(range(START_NS, stamps[-1] + 4 * gaze_ns, gaze_ns))
    noise = np.random.default_rng(1).normal(0, 0.3, (len(gaze), 2))
    for (dx, dy), stamp_ns in zip(noise, gaze, strict=True):
        x = 80.0 + (stamp_ns - START_NS) / frame_ns / 2 + dx
        sample = types["tracevlm_msgs/msg/GazeSample"](
            header=_header(stamp_ns),
            x=x,
            y=60.0 + dy,
            unit=0,
            confidence=1.0,
            pen=-1,
            source="test",
        )
        events.append((stamp_ns, "/gaze", sample))
    with BagWriter(path) as writer:
        for stamp_ns, topic, message in sorted(events, key=lambda event: event[:2]):
            writer.write(topic, message, stamp_ns)
    return TinyBag(path, stamps, len(gaze))


def _image_event(index: int, stamp_ns: int, *, compressed: bool) -> tuple[int, str, object]:
    types = typestore().types
    image = picture(index)
    if compressed:
        data = cv2.imencode(".jpg", image[..., ::-1])[1].reshape(-1)
        message = types["sensor_msgs/msg/CompressedImage"](
            header=_header(stamp_ns), format="jpeg", data=data
        )
        return stamp_ns, "/image/compressed", message
    message = types["sensor_msgs/msg/Image"](
        header=_header(stamp_ns),
        height=SIZE_HW[0],
        width=SIZE_HW[1],
        encoding="rgb8",
        is_bigendian=0,
        step=SIZE_HW[1] * 3,
        data=image.reshape(-1),
    )
    return stamp_ns, "/image", message
