"""Predictions on disk: an output bag like a recorded live graph's, and JSON lines to read by eye.

Both depend on the results alone: two runs over one recording write the same bytes. The log time of
every message is the stamp of its frame; node times, which nobody measures offline, are zero.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.types import Keypoints
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.ros_messages import (
    CAPTION_TYPE,
    MASKS_TYPE,
    TRACE_TYPE,
    caption_message,
    masks_message,
    trace_message,
)
from tracevlm_ros.ingest.bag_writer import BagWriter

CAPTIONS_TOPIC = "/tracevlm/captions"
MASKS_TOPIC = "/tracevlm/masks"
TRACES_TOPIC = "/tracevlm/traces"


class PredictionWriter:
    """Writes ``folder/bag`` (MCAP) and ``folder/predictions.jsonl``; use as a context manager.

    Raises InputError when the bag is already there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._bag = BagWriter(folder / "bag", compress=True)
        self._bag.add_topic(CAPTIONS_TOPIC, CAPTION_TYPE, latched=True)
        self._bag.add_topic(MASKS_TOPIC, MASKS_TYPE)
        self._bag.add_topic(TRACES_TOPIC, TRACE_TYPE)
        self._lines = (folder / "predictions.jsonl").open("w", encoding="utf-8", newline="\n")

    def write(self, outcome: FrameOutcome) -> None:
        """One frame's messages and its line."""
        stamp_ns, frame_id = outcome.frame.stamp_ns, outcome.frame.frame_id
        if outcome.masks is not None:
            self._bag.write(MASKS_TOPIC, masks_message(outcome.masks), stamp_ns)
        for trace in outcome.traces:
            self._bag.write(TRACES_TOPIC, trace_message(trace, stamp_ns, frame_id), stamp_ns)
        for spoken in outcome.captions:
            self._bag.write(CAPTIONS_TOPIC, caption_message(spoken), stamp_ns)
        json.dump(prediction_record(outcome), self._lines, ensure_ascii=False)
        self._lines.write("\n")

    def close(self) -> None:
        self._lines.close()
        self._bag.close()

    def __enter__(self) -> "PredictionWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def prediction_record(outcome: FrameOutcome) -> dict[str, Any]:
    """One frame as plain values: stamp, traces, mask boxes and areas, final captions."""
    masks = outcome.masks
    shown = []
    for trace_id in () if masks is None else masks.trace_ids:
        assert masks is not None
        rows, columns = np.nonzero(masks.labels == label_of(trace_id))
        box = (
            [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())]
            if len(rows)
            else None
        )
        shown.append({"trace_id": trace_id, "pixels": len(rows), "box_xyxy_px": box})
    return {
        "stamp_ns": outcome.frame.stamp_ns,
        "frame_id": outcome.frame.frame_id,
        "masks": shown,
        "traces": [
            {
                "trace_id": trace.trace_id,
                "start_ns": trace.start_ns,
                "end_ns": trace.end_ns,
                "is_open": trace.is_open,
                "keypoints_px": _rounded(trace.keypoints),
            }
            for trace in outcome.traces
        ],
        "captions": [
            {
                "trace_id": spoken.caption.trace_id,
                "text": spoken.caption.text,
                "score": round(spoken.caption.score, 6),
                "trace_is_open": spoken.caption.trace_is_open,
                "question": spoken.caption.question,
                "model_id": spoken.caption.model_id,
            }
            for spoken in outcome.captions
            if spoken.caption.is_final
        ],
    }


def _rounded(keypoints: Keypoints) -> list[list[float] | None]:
    """To a hundredth of a pixel; None for a point without a place."""
    return [
        [round(float(x), 2), round(float(y), 2)] if np.isfinite([x, y]).all() else None
        for x, y in keypoints.xy_px
    ]
