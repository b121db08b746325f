"""Results of the core as rosbags messages, and back: what a recorder of a live graph would hold."""

import math
from typing import Any

import numpy as np

from tracevlm_ros.core.types import Caption, Keypoints, Masks, TraceSnapshot
from tracevlm_ros.evaluation.outcome import SpokenCaption
from tracevlm_ros.ingest.bag_messages import stamp_ns
from tracevlm_ros.ingest.message_types import message_class

CAPTION_TYPE = "tracevlm_msgs/msg/Caption"
TRACE_TYPE = "tracevlm_msgs/msg/Trace"
MASKS_TYPE = "sensor_msgs/msg/Image"


def caption_message(spoken: SpokenCaption) -> Any:
    """A tracevlm_msgs/Caption; times that nobody measured are zero."""
    caption = spoken.caption
    return message_class(CAPTION_TYPE)(
        header=_header(caption.stamp_ns, caption.frame_id),
        trace_id=caption.trace_id,
        text=caption.text,
        score=float(caption.score),
        is_final=caption.is_final,
        trace_is_open=caption.trace_is_open,
        trace_start=_time(caption.start_ns),
        trace_end=_time(caption.end_ns),
        keypoints=_keypoint_messages(caption.keypoints),
        region=_region(caption.region_xyxy_px),
        question=caption.question,
        model_id=caption.model_id,
        captured=_time(caption.stamp_ns),
        received=_time(spoken.received_ns),
        inferred=_time(spoken.inferred_ns),
        published=_time(spoken.published_ns),
    )


def trace_message(trace: TraceSnapshot, frame_stamp_ns: int, frame_id: str) -> Any:
    """A tracevlm_msgs/Trace as it stands at one frame."""
    return message_class(TRACE_TYPE)(
        header=_header(frame_stamp_ns, frame_id),
        trace_id=trace.trace_id,
        is_open=trace.is_open,
        start=_time(trace.start_ns),
        end=_time(trace.end_ns),
        sample_count=trace.sample_count,
        keypoints=_keypoint_messages(trace.keypoints),
    )


def masks_message(masks: Masks) -> Any:
    """A sensor_msgs/Image 16UC1, little-endian, pixel = trace id."""
    height, width = masks.labels.shape
    data = np.ascontiguousarray(masks.labels, dtype="<u2").view(np.uint8).reshape(-1)
    return message_class(MASKS_TYPE)(
        _header(masks.stamp_ns, masks.frame_id), height, width, "16UC1", 0, width * 2, data
    )


def spoken_caption(message: Any) -> SpokenCaption:
    """The inverse of ``caption_message``, of any class with those fields."""
    region = message.region
    x0, y0 = float(region.x_offset), float(region.y_offset)
    caption = Caption(
        trace_id=int(message.trace_id),
        stamp_ns=stamp_ns(message.header.stamp),
        frame_id=message.header.frame_id,
        text=message.text,
        score=float(message.score),
        is_final=bool(message.is_final),
        trace_is_open=bool(message.trace_is_open),
        start_ns=stamp_ns(message.trace_start),
        end_ns=stamp_ns(message.trace_end),
        keypoints=_keypoints(message.keypoints),
        region_xyxy_px=(x0, y0, x0 + region.width - 1.0, y0 + region.height - 1.0),
        question=message.question,
        model_id=message.model_id,
    )
    times = (stamp_ns(time) for time in (message.received, message.inferred, message.published))
    return SpokenCaption(caption, *times)


def trace_snapshot(message: Any) -> TraceSnapshot:
    """The inverse of ``trace_message``."""
    return TraceSnapshot(
        trace_id=int(message.trace_id),
        start_ns=stamp_ns(message.start),
        end_ns=stamp_ns(message.end),
        is_open=bool(message.is_open),
        sample_count=int(message.sample_count),
        keypoints=_keypoints(message.keypoints),
    )


def _time(nanoseconds: int) -> Any:
    kind = message_class("builtin_interfaces/msg/Time")
    return kind(*divmod(int(nanoseconds), 1_000_000_000))


def _header(nanoseconds: int, frame_id: str) -> Any:
    return message_class("std_msgs/msg/Header")(_time(nanoseconds), frame_id)


def _region(box_xyxy_px: tuple[float, float, float, float]) -> Any:
    """The smallest box of whole pixels that holds the box (pixel centres, inclusive)."""
    x0, y0 = (max(0, math.floor(value)) for value in box_xyxy_px[:2])
    x1, y1 = (max(0, math.ceil(value)) for value in box_xyxy_px[2:])
    kind = message_class("sensor_msgs/msg/RegionOfInterest")
    return kind(x0, y0, y1 - y0 + 1, x1 - x0 + 1, False)


def _keypoint_messages(keypoints: Keypoints) -> list[Any]:
    kind = message_class("tracevlm_msgs/msg/Keypoint")
    return [
        kind(float(xy[0]), float(xy[1]), _time(stamp), float(weight), bool(pen_up), bool(lost))
        for xy, stamp, weight, pen_up, lost in zip(*keypoints, strict=True)
    ]


def _keypoints(messages: Any) -> Keypoints:
    return Keypoints(
        np.array([(one.x, one.y) for one in messages], dtype=np.float64).reshape(-1, 2),
        np.array([stamp_ns(one.stamp) for one in messages], dtype=np.int64),
        np.array([one.weight for one in messages], dtype=np.float64),
        np.array([one.pen_up for one in messages], dtype=np.bool_),
        np.array([one.lost for one in messages], dtype=np.bool_),
    )
