"""Records of a bag -> the nouns of the core. Only fields are read, so any message class will do."""

from collections.abc import Collection
from typing import Any

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.types import Frame, GazeSample, PenState, Word
from tracevlm_ros.ingest.bag import BagRecord
from tracevlm_ros.ingest.camera_info import lens_of
from tracevlm_ros.ingest.image_message import decode_compressed, decode_image
from tracevlm_ros.ingest.scene_pixels import from_normalised
from tracevlm_ros.ingest.topics import TopicKind

_NORMALISED = 1


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def to_frame(record: BagRecord) -> Frame:
    """An Image or CompressedImage record as a frame. Raises InputError when it is neither."""
    message = _decoded(record, TopicKind.IMAGE)
    if record.msgtype.endswith("/CompressedImage"):
        image = decode_compressed(message.format, message.data)
    else:
        image = decode_image(
            message.encoding,
            message.height,
            message.width,
            message.step,
            message.data,
            bool(message.is_bigendian),
        )
    return Frame(stamp_ns(message.header.stamp), image, message.header.frame_id)


def to_gaze_sample(
    record: BagRecord, size_hw: tuple[int, int], point_is_normalised: bool = False
) -> GazeSample:
    """A GazeSample or PointStamped record in pixels of a scene of ``size_hw``.

    A GazeSample says its own unit; a PointStamped does not: ``point_is_normalised`` tells whether
    it is 0..1 of the image instead of pixels. A PointStamped that is not finite counts as a blink.
    """
    message = _decoded(record, TopicKind.GAZE)
    stamp = stamp_ns(message.header.stamp)
    if record.msgtype.endswith("/GazeSample"):
        x, y = float(message.x), float(message.y)
        if message.unit == _NORMALISED:
            x, y = from_normalised(x, y, size_hw)
        return GazeSample(stamp, x, y, float(message.confidence), PenState(message.pen))
    x, y = float(message.point.x), float(message.point.y)
    if point_is_normalised:
        x, y = from_normalised(x, y, size_hw)
    seen = x - x == 0.0 and y - y == 0.0
    return GazeSample(stamp, x, y, 1.0 if seen else 0.0)


def to_lens(record: BagRecord) -> Lens | None:
    """The lens of a CameraInfo record; None of an uncalibrated camera."""
    return lens_of(_decoded(record, TopicKind.CAMERA_INFO))


def to_word(record: BagRecord) -> Word:
    """A tracevlm_msgs/Word record."""
    message = _decoded(record, TopicKind.WORDS)
    return Word(message.text, stamp_ns(message.start), stamp_ns(message.end))


def _decoded(record: BagRecord, kind: TopicKind) -> Any:
    return decode_as(record, kind.types, kind.name.lower())


def decode_as(record: BagRecord, msgtypes: Collection[str], what: str) -> Any:
    """The message of ``record``; InputError naming its topic when its type is none of ``msgtypes``,
    which ``what`` takes."""
    if record.msgtype not in msgtypes:
        raise InputError(
            f"topic {record.topic} is {record.msgtype}; {what} takes {' or '.join(msgtypes)}"
        )
    return record.decode()
