"""What should have been said and masked, from topics of the bag or from a file beside it.

In the bag: ``/ground_truth/masks`` (label images, pixel = object label, 0 = none; Image or PNG in a
CompressedImage) and ``/ground_truth/captions`` (tracevlm_msgs/Caption whose ``trace_id`` is the
object's label, or std_msgs/String with the same in JSON). Beside it: a sidecar
``<bag>.ground_truth.json`` or ``ground_truth.json`` in the bag's folder:

    {"captions": [{"label": 1, "texts": ["a red ball"], "start_ns": 0, "end_ns": 900}],
     "masks": {"<stamp_ns>": "masks/000.png"}}

with paths relative to the sidecar. The sidecar wins over topics, part by part.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_messages import decode_as, stamp_ns
from tracevlm_ros.ingest.image_message import decode_labels
from tracevlm_ros.ingest.topics import TopicKind

MASKS_TOPIC = "/ground_truth/masks"
CAPTIONS_TOPIC = "/ground_truth/captions"
_CAPTION_TYPES = ("tracevlm_msgs/msg/Caption", "std_msgs/msg/String")
_LABEL_ENCODINGS = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}
Labels = NDArray[np.uint16]


class Visit(NamedTuple):
    """One act of attention to the object ``label`` in ``[start_ns, end_ns)``; ``texts`` are its
    reference captions, at least one."""

    label: int
    texts: tuple[str, ...]
    start_ns: int
    end_ns: int


class GroundTruth(NamedTuple):
    """``mask_pngs``: stamp of the frame -> PNG label image, decoded when asked for."""

    visits: tuple[Visit, ...]
    mask_pngs: Mapping[int, bytes]

    def labels_at(self, frame_stamp_ns: int) -> Labels | None:
        """Object labels (H, W) of one frame; None where there is no truth for it.

        Raises InputError when its image cannot be decoded.
        """
        png = self.mask_pngs.get(frame_stamp_ns)
        return None if png is None else decode_labels("png", png)

    @property
    def missing(self) -> tuple[str, ...]:
        """Which parts are not there: the metrics that need them are left out by name."""
        parts = {"captions": bool(self.visits), "masks": bool(self.mask_pngs)}
        return tuple(name for name, is_there in parts.items() if not is_there)


NO_TRUTH = GroundTruth((), {})


def load_ground_truth(bag: BagReader, sidecar: Path | None = None) -> GroundTruth:
    """The truth of ``bag``; empty parts where there is none.

    Raises InputError when a part is there but cannot be read.
    """
    path = sidecar or find_sidecar(bag.path)
    from_file = NO_TRUTH if path is None else read_sidecar(path)
    names = {topic.name: topic.msgtype for topic in bag.topics}
    visits, pngs = from_file
    if not visits and CAPTIONS_TOPIC in names:
        visits = tuple(_visit(record) for record in bag.records({CAPTIONS_TOPIC}))
    if not pngs and MASKS_TOPIC in names:
        pngs = dict(_mask_png(record) for record in bag.records({MASKS_TOPIC}))
    return GroundTruth(tuple(sorted(visits, key=lambda one: one.start_ns)), pngs)


def find_sidecar(bag: Path) -> Path | None:
    """The sidecar of a bag, when it has one."""
    places = [bag.with_name(f"{bag.stem}.ground_truth.json"), bag / "ground_truth.json"]
    return next((place for place in places if place.is_file()), None)


def read_sidecar(path: Path) -> GroundTruth:
    """Raises InputError naming the file and the entry that is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        visits = tuple(_visit_of(entry) for entry in content.get("captions", ()))
        masks: dict[str, str] = content.get("masks", {})
        pngs = {int(stamp): (path.parent / name).read_bytes() for stamp, name in masks.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"ground truth {path} cannot be read: {type(error).__name__}: {error}; "
            "docs/evaluation.md shows its form"
        ) from error
    return GroundTruth(visits, pngs)


def _visit_of(entry: Mapping[str, Any]) -> Visit:
    texts = tuple(entry["texts"]) if "texts" in entry else (entry["text"],)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"texts of label {entry['label']} are {texts!r}")
    return Visit(int(entry["label"]), texts, int(entry["start_ns"]), int(entry["end_ns"]))


def _visit(record: BagRecord) -> Visit:
    message = decode_as(record, _CAPTION_TYPES, "ground truth")
    if record.msgtype == "std_msgs/msg/String":
        try:
            return _visit_of(json.loads(message.data))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"ground truth on {record.topic} at {record.log_ns} ns is no caption: {error}"
            ) from error
    return Visit(
        int(message.trace_id),
        (message.text,),
        stamp_ns(message.trace_start),
        stamp_ns(message.trace_end),
    )


def _mask_png(record: BagRecord) -> tuple[int, bytes]:
    message = decode_as(record, TopicKind.IMAGE.types, "ground truth")
    stamp = stamp_ns(message.header.stamp)
    if record.msgtype.endswith("/CompressedImage"):
        return stamp, bytes(message.data)
    labels = label_pixels(message)
    done, png = cv2.imencode(".png", labels)
    assert done, "a label image of 8 or 16 bits always encodes"
    return stamp, png.tobytes()


def label_pixels(message: Any) -> Labels:
    """Pixels (H, W) of a sensor_msgs/Image of labels. Raises InputError for other encodings."""
    kind = _LABEL_ENCODINGS.get(message.encoding)
    if kind is None:
        raise InputError(
            f"label image is {message.encoding}; it must be {', '.join(_LABEL_ENCODINGS)}"
        )
    order = ">" if message.is_bigendian else "<"
    flat = np.frombuffer(message.data, np.uint8)
    if flat.size != message.step * message.height:
        raise InputError(
            f"label image has {flat.size} bytes; {message.height} rows of {message.step} need "
            f"{message.step * message.height}"
        )
    rows = flat.reshape(message.height, message.step)[:, : message.width * int(kind[1])]
    return np.ascontiguousarray(rows).view(order + kind).astype(np.uint16)
