"""The slow path: one request of the pipeline, answered by the language model."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.engine import AnswerPart, Engine, JointDescriber, TraceQuestion
from tracevlm_ros.core.types import Caption, Description, Frame, Keypoints, TraceSnapshot


class DescribeRequest(NamedTuple):
    """Describe the trace ``snapshot`` on the frame of ``stamp_ns``.

    ``grounded`` is the engine's handle of that frame, ``place`` the trace's index in it.
    """

    snapshot: TraceSnapshot
    stamp_ns: int
    frame_id: str
    size_hw: tuple[int, int]
    grounded: Any
    place: int
    question: str | None = None

    @property
    def trace_id(self) -> int:
        return self.snapshot.trace_id


class LocateRequest(NamedTuple):
    """Find ``text`` in ``frame``; ``features`` is the engine's handle of that frame."""

    frame: Frame
    features: Any
    text: str


def describe(
    engine: Engine,
    request: DescribeRequest,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Caption, Description]]:
    """Stream the answer to ``request``; its last item is final unless it was cancelled."""
    parts = engine.describe(request.grounded, request.place, request.question, cancelled)
    return captions_of(engine.info.model_id, request, parts)


class CaptionPart(NamedTuple):
    """A part of the answer to the request in ``place``."""

    place: int
    caption: Caption
    description: Description


def describe_together(
    engine: Engine, requests: Sequence[DescribeRequest], cancelled: Callable[[int], bool]
) -> Iterator[CaptionPart]:
    """Stream the answers to ``requests``: side by side from an engine that can, else in turn.

    ``cancelled(place)`` ends one answer and leaves the rest.
    """
    for place, description in _parts(engine, requests, cancelled):
        caption = _caption(engine.info.model_id, requests[place], description)
        yield CaptionPart(place, caption, description)


def _parts(
    engine: Engine, requests: Sequence[DescribeRequest], cancelled: Callable[[int], bool]
) -> Iterator[AnswerPart]:
    asked = [TraceQuestion(item.grounded, item.place, item.question) for item in requests]
    if isinstance(engine, JointDescriber) and engine.info.max_answers > 1:
        yield from engine.describe_together(asked, cancelled)
        return
    for place, (grounded, index, question) in enumerate(asked):
        for part in engine.describe(grounded, index, question, partial(cancelled, place)):
            yield AnswerPart(place, part)


def captions_of(
    model_id: str, request: DescribeRequest, parts: Iterator[Description]
) -> Iterator[tuple[Caption, Description]]:
    """Each part of an answer to ``request`` with its caption."""
    for part in parts:
        yield _caption(model_id, request, part), part


def region_of(keypoints: Keypoints, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """Bounding box (x0, y0, x1, y1) of the keypoints that are not lost, inside the image."""
    seen = keypoints.xy_px[~keypoints.lost]
    points = seen if len(seen) else keypoints.xy_px
    limit = np.array([size_hw[1], size_hw[0]], dtype=np.float64) - 1
    low, high = np.clip([points.min(axis=0), points.max(axis=0)], 0, limit)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _caption(model_id: str, request: DescribeRequest, part: Description) -> Caption:
    snapshot = request.snapshot
    return Caption(
        trace_id=snapshot.trace_id,
        stamp_ns=request.stamp_ns,
        frame_id=request.frame_id,
        text=part.text,
        score=part.score,
        is_final=part.is_final,
        trace_is_open=snapshot.is_open,
        start_ns=snapshot.start_ns,
        end_ns=snapshot.end_ns,
        keypoints=snapshot.keypoints,
        region_xyxy_px=region_of(snapshot.keypoints, request.size_hw),
        question=request.question or "",
        model_id=model_id,
    )
