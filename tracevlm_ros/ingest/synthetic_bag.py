"""A clip and its gaze as a bag: what a camera and an eye tracker would have recorded, plus truth.

| topic | type |
|---|---|
| /camera/image/compressed | sensor_msgs/CompressedImage, JPEG |
| /camera/camera_info | sensor_msgs/CameraInfo, a pinhole without distortion |
| /gaze | tracevlm_msgs/GazeSample, or geometry_msgs/PointStamped |
| /ground_truth/masks | sensor_msgs/CompressedImage, PNG of 8 bits: object index + 1 |
| /ground_truth/captions | tracevlm_msgs/Caption per visit of the eye, or std_msgs/String (JSON) |

Header stamps are the time of the source, log times that of arrival: the camera is late by about
25 ms, the gaze by 4 ms with a few stragglers, and the truth comes with its frame. In a Caption
``trace_id`` is the object's label, ``trace_start`` and ``trace_end`` bound the visit, the header
and ``region`` belong to the frame nearest to its middle. The JSON has the fields ``label``,
``text``, ``start_ns``, ``end_ns``, ``frame_ns``, ``region_xywh_px``.
"""

import heapq
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Image
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_build import header, time_message
from tracevlm_ros.ingest.message_types import message_class
from tracevlm_ros.synthetic.clip import Clip, ClipConfig, ClipFrame
from tracevlm_ros.synthetic.gaze import Arrival, GazeConfig, GazeTruth, Visit, look_at
from tracevlm_ros.synthetic.words import describe

IMAGE_TOPIC = "/camera/image/compressed"
INFO_TOPIC = "/camera/camera_info"
GAZE_TOPIC = "/gaze"
MASKS_TOPIC = "/ground_truth/masks"
CAPTIONS_TOPIC = "/ground_truth/captions"
FRAME_ID = "camera"
SOURCE = "synthetic"
MODEL_ID = "ground_truth"
_FIELD_OF_VIEW_RAD = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticBagConfig:
    """``standard_types`` writes types of ROS 2 itself only, for tools without tracevlm_msgs.

    ``camera_delay_ms`` is the mean delay of a frame, ``camera_jitter_ms`` its sigma.
    """

    clip: ClipConfig = field(default_factory=ClipConfig)
    gaze: GazeConfig = field(default_factory=GazeConfig)
    storage: str = "mcap"
    standard_types: bool = False
    jpeg_quality: int = 80
    camera_delay_ms: float = 25.0
    camera_jitter_ms: float = 3.0

    def __post_init__(self) -> None:
        require_range("jpeg_quality", self.jpeg_quality, 1, 100)
        require_range("camera_delay_ms", self.camera_delay_ms, 0.0, 1000.0)
        require_range("camera_jitter_ms", self.camera_jitter_ms, 0.0, 100.0)


class SyntheticBag(NamedTuple):
    """What was written."""

    path: Path
    frames: int
    gaze_samples: int
    visits: tuple[Visit, ...]
    captions: tuple[str, ...]


class _Timed(NamedTuple):
    log_ns: int
    topic: str
    message: Any


def write_synthetic_bag(
    path: str | Path,
    config: SyntheticBagConfig,
    on_frame: Callable[[int, int], None] | None = None,
) -> SyntheticBag:
    """Write the bag of ``config`` into the new folder ``path``: the same config, the same bytes.

    ``on_frame(done, all)`` is called after each frame. Raises InputError when ``path`` exists and
    ConfigError for a clip that cannot be made.
    """
    clip = Clip(config.clip)
    truth = look_at(clip, config.gaze)
    rng = np.random.default_rng([config.clip.seed, 3])
    texts = tuple(_caption_text(clip, visit, rng) for visit in truth.visits)
    with BagWriter(path, config.storage) as bag:
        for topic, msgtype, reliable in _topics(config.standard_types):
            bag.add_topic(topic, msgtype, reliable=reliable)
        for timed in _in_log_order(clip, truth, texts, config, rng, on_frame):
            bag.write(timed.topic, timed.message, timed.log_ns)
    count = config.clip.frame_count
    return SyntheticBag(Path(path), count, len(truth.arrivals), truth.visits, texts)


def _topics(standard_types: bool) -> tuple[tuple[str, str, bool], ...]:
    """Name, type and reliability of each topic."""
    gaze, caption = "tracevlm_msgs/msg/GazeSample", "tracevlm_msgs/msg/Caption"
    if standard_types:
        gaze, caption = "geometry_msgs/msg/PointStamped", "std_msgs/msg/String"
    return (
        (IMAGE_TOPIC, "sensor_msgs/msg/CompressedImage", False),
        (INFO_TOPIC, "sensor_msgs/msg/CameraInfo", False),
        (GAZE_TOPIC, gaze, False),
        (MASKS_TOPIC, "sensor_msgs/msg/CompressedImage", True),
        (CAPTIONS_TOPIC, caption, True),
    )


def _in_log_order(
    clip: Clip,
    truth: GazeTruth,
    texts: tuple[str, ...],
    config: SyntheticBagConfig,
    rng: np.random.Generator,
    on_frame: Callable[[int, int], None] | None,
) -> Iterator[_Timed]:
    """All messages by log time; frames are drawn one at a time as their turn comes."""
    waiting: list[tuple[int, int, _Timed]] = []
    order = itertools.count()

    def wait(timed: _Timed) -> None:
        heapq.heappush(waiting, (timed.log_ns, next(order), timed))

    for arrival in truth.arrivals:
        message = _gaze_message(arrival, config.standard_types)
        wait(_Timed(arrival.arrival_ns, GAZE_TOPIC, message))
    captions_at: dict[int, list[int]] = {}
    for number, visit in enumerate(truth.visits):
        captions_at.setdefault(_middle_frame(clip, visit), []).append(number)
    for index in range(clip.config.frame_count):
        frame = clip.frame_at(index)
        delay_ms = max(1.0, config.camera_delay_ms + config.camera_jitter_ms * rng.normal())
        arrived = frame.stamp_ns + round(delay_ms * 1e6)
        for timed in _frame_messages(clip, frame, arrived, config):
            wait(timed)
        for number in captions_at.get(index, []):
            visit = truth.visits[number]
            caption = _caption_message(frame, visit, texts[number], config.standard_types)
            wait(_Timed(visit.end_ns, CAPTIONS_TOPIC, caption))
        ready = frame.stamp_ns if index + 1 < clip.config.frame_count else 2**63
        while waiting and waiting[0][0] < ready:
            yield heapq.heappop(waiting)[2]
        if on_frame is not None:
            on_frame(index + 1, clip.config.frame_count)


def _frame_messages(
    clip: Clip, frame: ClipFrame, arrived_ns: int, config: SyntheticBagConfig
) -> list[_Timed]:
    bgr = frame.image_rgb[:, :, ::-1]
    jpeg = _encoded(".jpg", bgr, cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality)
    png = _encoded(".png", frame.labels, cv2.IMWRITE_PNG_COMPRESSION, 9)
    compressed = message_class("sensor_msgs/msg/CompressedImage")
    header = _header(frame.stamp_ns)
    info = _camera_info(header, clip.config.size_hw)
    labels = compressed(header, "mono8; png compressed", png)
    return [
        _Timed(arrived_ns, IMAGE_TOPIC, compressed(header, "rgb8; jpeg compressed bgr8", jpeg)),
        _Timed(arrived_ns + 100_000, INFO_TOPIC, info),
        _Timed(arrived_ns + 200_000, MASKS_TOPIC, labels),
    ]


def _encoded(kind: str, image: Image, option: int, value: int) -> Image:
    _, data = cv2.imencode(kind, np.ascontiguousarray(image), [option, value])
    return np.asarray(data, np.uint8).reshape(-1)


def _header(stamp_ns: int) -> Any:
    return header(stamp_ns, FRAME_ID)


def _camera_info(header: Any, size_hw: tuple[int, int]) -> Any:
    height, width = size_hw
    focal = width / 2 / float(np.tan(_FIELD_OF_VIEW_RAD / 2))
    cx, cy = (width - 1) / 2, (height - 1) / 2
    region = message_class("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False)
    return message_class("sensor_msgs/msg/CameraInfo")(
        header,
        height,
        width,
        "plumb_bob",
        np.zeros(5),
        np.array([focal, 0, cx, 0, focal, cy, 0, 0, 1], np.float64),
        np.eye(3).reshape(-1),
        np.array([focal, 0, cx, 0, 0, focal, cy, 0, 0, 0, 1, 0], np.float64),
        0,
        0,
        region,
    )


def _gaze_message(arrival: Arrival, standard_types: bool) -> Any:
    sample = arrival.sample
    header = _header(sample.stamp_ns)
    if standard_types:
        point = message_class("geometry_msgs/msg/Point")(sample.x_px, sample.y_px, 0.0)
        return message_class("geometry_msgs/msg/PointStamped")(header, point)
    kind: Any = message_class("tracevlm_msgs/msg/GazeSample")
    return kind(
        header,
        sample.x_px,
        sample.y_px,
        kind.UNIT_PIXELS,
        sample.confidence,
        int(sample.pen),
        SOURCE,
    )


def _caption_text(clip: Clip, visit: Visit, rng: np.random.Generator) -> str:
    start_s = (visit.start_ns - clip.config.start_ns) / 1e9
    return describe(clip.scene_at(start_s), visit.object_index, rng, relation=False)


def _middle_frame(clip: Clip, visit: Visit) -> int:
    middle_s = ((visit.start_ns + visit.end_ns) / 2 - clip.config.start_ns) / 1e9
    return min(clip.config.frame_count - 1, round(middle_s * clip.config.rate_hz))


def _caption_message(frame: ClipFrame, visit: Visit, text: str, standard_types: bool) -> Any:
    label = visit.object_index + 1
    x, y, width, height = cv2.boundingRect((frame.labels == label).astype(np.uint8))
    if standard_types:
        content = {
            "label": label,
            "text": text,
            "start_ns": visit.start_ns,
            "end_ns": visit.end_ns,
            "frame_ns": frame.stamp_ns,
            "region_xywh_px": [x, y, width, height],
        }
        return message_class("std_msgs/msg/String")(json.dumps(content))
    return message_class("tracevlm_msgs/msg/Caption")(
        header=_header(frame.stamp_ns),
        trace_id=label,
        text=text,
        score=1.0,
        is_final=True,
        trace_is_open=False,
        trace_start=time_message(visit.start_ns),
        trace_end=time_message(visit.end_ns),
        keypoints=[],
        region=message_class("sensor_msgs/msg/RegionOfInterest")(x, y, height, width, False),
        question="",
        model_id=MODEL_ID,
        captured=time_message(frame.stamp_ns),
        received=time_message(visit.end_ns),
        inferred=time_message(visit.end_ns),
        published=time_message(visit.end_ns),
    )
