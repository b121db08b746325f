"""Durations and rates of a running node, for diagnostics."""

import threading
import time
from collections import defaultdict, deque
from typing import NamedTuple, Protocol

import numpy as np

WINDOW = 1024
"""Durations kept per stage: half a minute at 30 Hz."""
RATE_WINDOW_S = 5.0


class Percentiles(NamedTuple):
    """Of the last ``WINDOW`` durations of one stage, in milliseconds."""

    samples: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class StopwatchListener(Protocol):
    """Told of everything as it happens, in the thread that it happens in."""

    def duration(
        self, stage: str, start_s: float, end_s: float, frame_ns: int | None = None
    ) -> None: ...

    def event(self, stream: str, now_s: float) -> None: ...


class Stopwatch:
    """Collects durations per stage and events per stream; any thread may call it.

    ``listener`` is told of each one too; None: nobody is.
    """

    def __init__(self) -> None:
        self.listener: StopwatchListener | None = None
        self._lock = threading.Lock()
        self._durations_ms: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=WINDOW)
        )
        self._events_s: defaultdict[str, deque[float]] = defaultdict(deque)
        self._totals: defaultdict[str, int] = defaultdict(int)

    def add(
        self,
        stage: str,
        start_s: float,
        end_s: float | None = None,
        frame_ns: int | None = None,
    ) -> None:
        """Add one duration; times are of ``time.monotonic``, the end is now by default.

        ``frame_ns`` is the stamp of the frame that was worked on, where it was one.
        """
        end_s = time.monotonic() if end_s is None else end_s
        with self._lock:
            self._durations_ms[stage].append(1e3 * (end_s - start_s))
        if (listener := self.listener) is not None:
            listener.duration(stage, start_s, end_s, frame_ns)

    def event(self, stream: str, now_s: float | None = None) -> None:
        """Something came in or went out on ``stream``."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            self._totals[stream] += 1
            events = self._events_s[stream]
            events.append(now_s)
            _forget_before(events, now_s - RATE_WINDOW_S)
        if (listener := self.listener) is not None:
            listener.event(stream, now_s)

    def percentiles(self) -> dict[str, Percentiles]:
        """Per stage that has at least one duration."""
        with self._lock:
            copies = {stage: list(values) for stage, values in self._durations_ms.items()}
        return {stage: _percentiles(values) for stage, values in sorted(copies.items())}

    def rates_hz(self, now_s: float | None = None) -> dict[str, float]:
        """Events per second over the last ``RATE_WINDOW_S``."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            for events in self._events_s.values():
                _forget_before(events, now_s - RATE_WINDOW_S)
            return {
                stream: len(events) / RATE_WINDOW_S
                for stream, events in sorted(self._events_s.items())
            }

    def totals(self) -> dict[str, int]:
        """Events since the start, per stream."""
        with self._lock:
            return dict(sorted(self._totals.items()))


def _forget_before(events: deque[float], limit_s: float) -> None:
    while events and events[0] < limit_s:
        events.popleft()


def _percentiles(values_ms: list[float]) -> Percentiles:
    p50, p95, p99 = np.percentile(np.asarray(values_ms), (50, 95, 99))
    return Percentiles(len(values_ms), float(p50), float(p95), float(p99))
