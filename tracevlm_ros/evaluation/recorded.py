"""A recorded live run: the input bag and the output bag, joined by the stamps of the frames."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, Masks, TraceSnapshot
from tracevlm_ros.evaluation.ground_truth import label_pixels
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption
from tracevlm_ros.evaluation.predictions import CAPTIONS_TOPIC, MASKS_TOPIC, TRACES_TOPIC
from tracevlm_ros.evaluation.recording import BagTopics, bag_samples
from tracevlm_ros.evaluation.ros_messages import (
    CAPTION_TYPE,
    MASKS_TYPE,
    TRACE_TYPE,
    spoken_caption,
    trace_snapshot,
)
from tracevlm_ros.evaluation.stamp_spans import SpanWatch
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_messages import decode_as, stamp_ns

_SHIFT_LIVE = (
    "let the node shift gaze (pipeline.gaze_offset_ms, see: tracevlm calibrate clock) and record "
    "again"
)


class _MaskStream:
    """Masks by stamp, read only as far as needed; those that no frame asked for are counted."""

    def __init__(self, records: Iterator[BagRecord], drops: Drops) -> None:
        self._records = records
        self._drops = drops
        self._held: dict[int, Masks] = {}
        self._newest_ns = -1

    def take(self, frame_stamp_ns: int) -> Masks | None:
        while self._newest_ns < frame_stamp_ns and (record := next(self._records, None)):
            masks = masks_of(decode_as(record, (MASKS_TYPE,), "a recorded graph"))
            self._held[masks.stamp_ns] = masks
            self._newest_ns = max(self._newest_ns, masks.stamp_ns)
        for stamp in [stamp for stamp in self._held if stamp < frame_stamp_ns]:
            del self._held[stamp]
            self._drops["masks_without_frame"] += 1
        return self._held.pop(frame_stamp_ns, None)


def recorded_outcomes(
    inputs: BagReader, outputs: BagReader, topics: BagTopics, drops: Drops
) -> Iterator[FrameOutcome]:
    """Each frame of the bag ``inputs`` with what the bag ``outputs`` says of it.

    Frames without masks were dropped live: ``masks`` is None and ``frame_without_masks`` counts
    them. Captions for stamps that no frame has count as ``caption_without_frame``. Both bags may
    be one. Raises InputError when the output bag has neither captions nor masks, when none of its
    stamps belongs to a frame of the input bag, or when no trace was found and gaze and frames of
    the input bag never overlap (a graph may have shifted gaze itself; then it finds traces).
    """
    names = {topic.name for topic in outputs.topics if topic.message_count}
    if not names & {CAPTIONS_TOPIC, MASKS_TOPIC}:
        raise InputError(
            f"bag {outputs.path} has neither {CAPTIONS_TOPIC} nor {MASKS_TOPIC}; record them with "
            "'tracevlm record' while the node runs"
        )
    captions = _captions(outputs, names)
    traces = _traces(outputs, names)
    masks = _MaskStream(_records(outputs, names, MASKS_TOPIC), drops)
    joined = attended = 0
    spans = SpanWatch()
    for sample in spans.passing(bag_samples(inputs, topics, drops)):
        if not isinstance(sample, Frame):
            continue
        found = masks.take(sample.stamp_ns)
        said = tuple(captions.pop(sample.stamp_ns, ()))
        joined += found is not None or bool(said)
        drops["frame_without_masks"] += found is None
        seen = tuple(traces.get(sample.stamp_ns, ()))
        attended += bool(said or seen or (found is not None and found.trace_ids))
        yield FrameOutcome(sample, found, seen, said)
    drops["caption_without_frame"] += sum(map(len, captions.values()))
    if not joined:
        raise InputError(
            f"no stamp in bag {outputs.path} belongs to a frame of {inputs.path}; "
            "give the bag that was played while the outputs were recorded"
        )
    if not attended:
        spans.require_overlap(_SHIFT_LIVE)


def _records(bag: BagReader, names: set[str], topic: str) -> Iterator[BagRecord]:
    return bag.records({topic}) if topic in names else iter(())


def _captions(bag: BagReader, names: set[str]) -> dict[int, list[SpokenCaption]]:
    found: dict[int, list[SpokenCaption]] = defaultdict(list)
    for record in _records(bag, names, CAPTIONS_TOPIC):
        spoken = spoken_caption(decode_as(record, (CAPTION_TYPE,), "a recorded graph"))
        found[spoken.caption.stamp_ns].append(spoken)
    return found


def _traces(bag: BagReader, names: set[str]) -> dict[int, list[TraceSnapshot]]:
    """The newest word of each trace on each frame."""
    found: dict[int, dict[int, TraceSnapshot]] = defaultdict(dict)
    for record in _records(bag, names, TRACES_TOPIC):
        message = decode_as(record, (TRACE_TYPE,), "a recorded graph")
        trace = trace_snapshot(message)
        found[stamp_ns(message.header.stamp)][trace.trace_id] = trace
    return {stamp: list(traces.values()) for stamp, traces in found.items()}


def masks_of(message: Any) -> Masks:
    """Of a label image; InputError where its encoding is none of labels."""
    labels = label_pixels(message)
    ids = tuple(int(value) for value in np.unique(labels) if value)
    return Masks(stamp_ns(message.header.stamp), message.header.frame_id, labels, ids)
