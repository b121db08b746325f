"""From the logs of a camera, of gaze_caption and of a subscriber to the latency of each frame.

All times are ``time.monotonic`` of one machine. A frame is captured when the camera hands it to the
middleware, published when gaze_caption has published its masks and traces, and received when a
subscriber in another process has its mask.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError

PERCENTILES = (50, 95, 99)


class Span(NamedTuple):
    """One pass of a stage, in seconds."""

    start_s: float
    end_s: float


class NodeTrace(NamedTuple):
    """What gaze_caption's trace file tells: stages by name and frame, calls of the engine, and when
    images arrived."""

    stages: dict[str, dict[int, Span]]
    engine: list[Span]
    image_arrivals_s: list[float]


class FrameTimes(NamedTuple):
    """Of one frame, in milliseconds. ``fast_path_ms`` is tracking, engine and making masks;
    ``received_ms`` is None when its mask did not reach the subscriber."""

    published_ms: float
    engine_ms: float
    fast_path_ms: float
    decode_ms: float
    received_ms: float | None

    @property
    def without_engine_ms(self) -> float:
        """All but the engine and decoding."""
        return self.published_ms - self.engine_ms - self.decode_ms

    @property
    def without_fast_path_ms(self) -> float:
        """Transport, queues, waiting and publishing."""
        return self.published_ms - self.fast_path_ms - self.decode_ms


def read_trace(path: Path) -> NodeTrace:
    """A trace file, whether it was closed or not. Raises InputError where it is none."""
    text = path.read_text(encoding="utf-8").rstrip()
    try:
        events = json.loads(text if text.endswith("]") else f"{text}]")
    except ValueError as error:
        raise InputError(f"{path} is no trace file of gaze_caption: {error}") from error
    stages: dict[str, dict[int, Span]] = {}
    engine: list[Span] = []
    for begun, ended in _pairs(events):
        span = Span(begun["ts"] / 1e6, ended["ts"] / 1e6)
        if begun["name"].startswith("engine_"):
            engine.append(span)
        elif "args" in begun:
            stages.setdefault(begun["name"], {})[int(begun["args"]["frame_ns"])] = span
    arrivals = [e["ts"] / 1e6 for e in events if e["ph"] == "i" and e["name"] == "image"]
    return NodeTrace(stages, sorted(engine), arrivals)


def _pairs(events: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Any, Any]]:
    ended = {event["id"]: event for event in events if event["ph"] == "e"}
    for event in events:
        if event["ph"] == "b" and event["id"] in ended:
            yield event, ended[event["id"]]


def frame_times(
    captured_s: Mapping[int, float], trace: NodeTrace, received_s: Mapping[int, float]
) -> dict[int, FrameTimes]:
    """By stamp, every frame of ``captured_s`` that was published."""
    published = trace.stages.get("received_to_published", {})
    return {
        stamp: FrameTimes(
            published_ms=1e3 * (published[stamp].end_s - captured),
            engine_ms=1e3 * _engine_s(trace, stamp),
            fast_path_ms=1e3 * _length_s(trace.stages["fast_path"][stamp]),
            decode_ms=1e3 * _length_s(trace.stages["image_decode"][stamp]),
            received_ms=1e3 * (received_s[stamp] - captured) if stamp in received_s else None,
        )
        for stamp, captured in captured_s.items()
        if stamp in published
    }


def _engine_s(trace: NodeTrace, stamp_ns: int) -> float:
    """Time in the engine within the frame's pass of the fast path, which has one thread."""
    whole = trace.stages["fast_path"][stamp_ns]
    return sum(
        _length_s(span)
        for span in trace.engine
        if whole.start_s <= span.start_s and span.end_s <= whole.end_s
    )


def _length_s(span: Span) -> float:
    return span.end_s - span.start_s


def spread_ms(values: Sequence[float]) -> dict[str, float]:
    """Percentiles and the largest value, to a hundredth of a millisecond; empty for no values."""
    if not values:
        return {}
    found = {
        f"p{p}": float(v)
        for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    }
    return {name: round(value, 2) for name, value in {**found, "max": max(values)}.items()}
