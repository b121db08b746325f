"""Tiny recordings and hand-made outcomes for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tracevlm_ros.core.types import Caption, Frame, Keypoints, Masks, TraceSnapshot
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.synthetic_bag import SyntheticBagConfig, write_synthetic_bag
from tracevlm_ros.synthetic.clip import ClipConfig

SIZE = (40, 60)
MS = 1_000_000


def write_bag(folder: Path, seed: int = 3, seconds: float = 2.0) -> Path:
    """A synthetic bag small enough to replay in a second."""
    clip = ClipConfig(
        seed=seed, seconds=seconds, rate_hz=10.0, height=96, width=128, objects=3, noise=1.0
    )
    return write_synthetic_bag(folder, SyntheticBagConfig(clip=clip)).path


def copy_bag(
    source: Path, target: Path, change: Callable[[BagRecord, BagWriter], bytes | None]
) -> Path:
    """``source`` with each record as ``change`` gives it; None leaves it out."""
    with BagReader(source) as bag, BagWriter(target) as copy:
        for record in bag.records():
            raw = change(record, copy)
            if raw is not None:
                copy.write_raw(record.topic, record.msgtype, record.log_ns, raw)
    return target


def shift_stamps(source: Path, target: Path, topic: str, by_ns: int) -> Path:
    """``source`` with the stamps on ``topic`` moved; the order of the records stays."""

    def shifted(record: BagRecord, copy: BagWriter) -> bytes:
        if record.topic != topic:
            return bytes(record.raw)
        message = record.decode()
        stamp = message.header.stamp
        moved_ns = stamp.sec * 10**9 + stamp.nanosec + by_ns
        stamp.sec, stamp.nanosec = divmod(moved_ns, 10**9)
        return bytes(copy.store.serialize_cdr(message, record.msgtype))

    return copy_bag(source, target, shifted)


def box(x0: int, y0: int, x1: int, y1: int, value: int = 1) -> np.ndarray:
    """Labels (H, W) with ``value`` in a half-open box."""
    labels = np.zeros(SIZE, dtype=np.uint16)
    labels[y0:y1, x0:x1] = value
    return labels


def masks_at(stamp_ns: int, labels: np.ndarray) -> Masks:
    ids = tuple(int(value) for value in np.unique(labels) if value)
    return Masks(stamp_ns, "camera", labels.astype(np.uint16), ids)


def keypoints_at(*xy: tuple[float, float]) -> Keypoints:
    count = len(xy)
    return Keypoints(
        np.array(xy, dtype=np.float64).reshape(-1, 2),
        np.arange(count, dtype=np.int64),
        np.ones(count),
        np.zeros(count, dtype=bool),
        np.zeros(count, dtype=bool),
    )


def trace_at(trace_id: int, start_ns: int, end_ns: int, *xy: tuple[float, float]) -> TraceSnapshot:
    return TraceSnapshot(trace_id, start_ns, end_ns, True, len(xy), keypoints_at(*xy))


def caption_at(
    stamp_ns: int,
    trace_id: int = 1,
    text: str = "a red ball",
    start_ns: int = 0,
    end_ns: int = 100 * MS,
    published_ns: int = 0,
    **changes: object,
) -> SpokenCaption:
    caption = Caption(
        trace_id=trace_id,
        stamp_ns=stamp_ns,
        frame_id="camera",
        text=text,
        score=0.5,
        is_final=True,
        trace_is_open=False,
        start_ns=start_ns,
        end_ns=end_ns,
        keypoints=keypoints_at((5.0, 6.0)),
        region_xyxy_px=(5.0, 6.0, 5.0, 6.0),
        question="",
        model_id="fake",
    )
    return SpokenCaption(caption._replace(**changes), 0, 0, published_ns)


def outcome_at(
    stamp_ns: int,
    labels: np.ndarray | None,
    traces: tuple[TraceSnapshot, ...] = (),
    captions: tuple[SpokenCaption, ...] = (),
) -> FrameOutcome:
    frame = Frame(stamp_ns, np.full((*SIZE, 3), 80, dtype=np.uint8))
    masks = None if labels is None else masks_at(stamp_ns, labels)
    return FrameOutcome(frame, masks, traces, captions)
