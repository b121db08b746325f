"""Tiny gaze and pointer streams for tests of segmentation: 640x480, 60 degrees, px from degrees."""

from collections.abc import Iterable

import numpy as np

from tracevlm_ros.core.attention.events import TraceClosed, TraceEvent, TraceGrown, TraceOpened
from tracevlm_ros.core.attention.segmenter import TraceSegmenter
from tracevlm_ros.core.types import GazeSample, PenState

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
PX_PER_DEG = 640 / 60.0


def look(
    x_deg: float,
    y_deg: float,
    start_ms: float,
    end_ms: float,
    rate_hz: float = 120.0,
    noise_deg: float = 0.05,
) -> list[GazeSample]:
    """Gaze at one place during [start, end); the noise follows from the start."""
    noise = np.random.default_rng(round(start_ms) + 1)
    samples = []
    for step in range(int((end_ms - start_ms) * rate_hz / 1000)):
        stamp_ns = START_NS + round((start_ms + step * 1000 / rate_hz) * MS)
        x, y = (np.array([x_deg, y_deg]) + noise.normal(0, noise_deg, 2)) * PX_PER_DEG
        samples.append(GazeSample(stamp_ns, float(x), float(y)))
    return samples


def blink(start_ms: float, end_ms: float, rate_hz: float = 120.0) -> list[GazeSample]:
    """The device sends, but sees no eye."""
    nothing = float("nan")
    return [
        sample._replace(x_px=nothing, y_px=nothing, confidence=0.0)
        for sample in look(0, 0, start_ms, end_ms, rate_hz)
    ]


def stroke(
    points_deg: Iterable[tuple[float, float]],
    start_ms: float,
    step_ms: float = 10.0,
    pen: PenState = PenState.DOWN,
) -> list[GazeSample]:
    """A pointer through these points."""
    return [
        GazeSample(
            START_NS + round((start_ms + i * step_ms) * MS),
            x * PX_PER_DEG,
            y * PX_PER_DEG,
            1.0,
            pen,
        )
        for i, (x, y) in enumerate(points_deg)
    ]


def run(segmenter: TraceSegmenter, *streams: list[GazeSample]) -> list[TraceEvent]:
    """All events of these samples, without ``finish``."""
    return [event for stream in streams for sample in stream for event in segmenter.push(sample)]


def opened(events: Iterable[TraceEvent]) -> list[TraceOpened]:
    return [event for event in events if isinstance(event, TraceOpened)]


def grown(events: Iterable[TraceEvent], trace_id: int | None = None) -> list[TraceGrown]:
    return [
        event
        for event in events
        if isinstance(event, TraceGrown) and trace_id in (None, event.trace_id)
    ]


def closed(events: Iterable[TraceEvent]) -> list[TraceClosed]:
    return [event for event in events if isinstance(event, TraceClosed)]


def ms(stamp_ns: int) -> float:
    return (stamp_ns - START_NS) / MS
