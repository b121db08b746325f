"""What the segmenter says of traces, in order: opened, grown (many times), closed."""

from typing import NamedTuple

from tracevlm_ros.core.types import GazeSample


class TraceOpened(NamedTuple):
    """A new act of attention; ``stamp_ns`` is its onset, which may lie before the last event."""

    trace_id: int
    stamp_ns: int


class TraceGrown(NamedTuple):
    """One sample more. ``pen_up``: pen lifted or gaze lost between the previous sample and this.

    ``segment`` counts the fixations or strokes of the trace from 0; ``weight`` (0.2..1) is the
    live weight of that segment so far, so the last one of a segment is its final weight.
    """

    trace_id: int
    sample: GazeSample
    pen_up: bool
    weight: float
    segment: int


class TraceClosed(NamedTuple):
    """The act of attention is over since ``stamp_ns``, the stamp of its last sample.

    ``reason``: ``shift`` (attention went elsewhere), ``lost`` (no usable gaze), ``pause`` (the
    pointer rests or is up), ``duration`` (longer than ``max_trace_s``), ``end`` (closed from
    outside: end of stream or reset).
    """

    trace_id: int
    stamp_ns: int
    reason: str


TraceEvent = TraceOpened | TraceGrown | TraceClosed
