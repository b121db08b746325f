"""How long each trace was looked at, and from which trace attention went to which."""

from collections import deque
from itertools import islice
from typing import NamedTuple

from tracevlm_ros.core.attention.events import TraceClosed, TraceEvent, TraceGrown, TraceOpened

NS_PER_S = 1e9


class Transition(NamedTuple):
    """Attention went from one trace to the next at ``stamp_ns``, after ``gap_s`` on neither."""

    from_id: int
    to_id: int
    stamp_ns: int
    gap_s: float


class NewestAttention(NamedTuple):
    """The last few of ``AttentionLedger.dwell_s`` and ``transitions``, oldest first."""

    dwell_s: dict[int, float]
    transitions: tuple[Transition, ...]


class AttentionLedger:
    """Dwell time of each trace and the order in which attention went from trace to trace."""

    def __init__(self, max_traces: int = 1024) -> None:
        self._dwell_s: dict[int, float] = {}
        self._transitions: deque[Transition] = deque(maxlen=max_traces)
        self._max_traces = max_traces
        self._last: tuple[int, int] | None = None

    def observe(self, event: TraceEvent) -> None:
        """Take the segmenter's events in order."""
        if isinstance(event, TraceOpened):
            self._open(event)
        elif isinstance(event, TraceGrown):
            self._grow(event)
        elif isinstance(event, TraceClosed):
            self._last = (event.trace_id, event.stamp_ns)

    def restart(self) -> None:
        """Stamps start anew or jump (a bag loop, a seek): no transition leads across."""
        self._last = None

    @property
    def dwell_s(self) -> dict[int, float]:
        """Trace id -> seconds looked at, without pen-up and lost gaze; the newest traces only."""
        return dict(self._dwell_s)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The newest transitions, oldest first."""
        return tuple(self._transitions)

    def newest(self, count: int) -> NewestAttention:
        """At most ``count`` of each; costs no more however many there are."""
        dwell = list(islice(reversed(self._dwell_s.items()), count))
        transitions = list(islice(reversed(self._transitions), count))
        return NewestAttention(dict(reversed(dwell)), tuple(reversed(transitions)))

    def _open(self, event: TraceOpened) -> None:
        if self._last is not None:
            gap_s = (event.stamp_ns - self._last[1]) / NS_PER_S
            self._transitions.append(
                Transition(self._last[0], event.trace_id, event.stamp_ns, gap_s)
            )
        self._dwell_s[event.trace_id] = 0.0
        self._last = (event.trace_id, event.stamp_ns)
        if len(self._dwell_s) > self._max_traces:
            del self._dwell_s[next(iter(self._dwell_s))]

    def _grow(self, event: TraceGrown) -> None:
        if self._last is not None and not event.pen_up and event.trace_id in self._dwell_s:
            elapsed_ns = event.sample.stamp_ns - self._last[1]
            self._dwell_s[event.trace_id] += elapsed_ns / NS_PER_S
        self._last = (event.trace_id, event.sample.stamp_ns)
