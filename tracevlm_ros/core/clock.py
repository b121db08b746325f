"""Foreign clocks: where a device's stamps lie on the local time line.

The model is ``local = foreign + offset + drift * (foreign - reference)``. What is observed is a
line plus latency, which is never negative, sometimes huge, and hides its own minimum; reasons for
the estimator are in docs/adr/0003-time-and-order.md.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import FloatArray

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PPM = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockConfig:
    """``bucket_s``: the best pair of each such stretch is kept, for ``max_buckets`` stretches.

    ``drift_after_s``: drift is taken as 0 until pairs span this long. ``max_drift_ppm`` bounds it.
    ``jump_ms``, ``jump_confirm_s``: a clock that stays this far off for this long was set anew.
    """

    bucket_s: float = 1.0
    max_buckets: int = 300
    drift_after_s: float = 20.0
    max_drift_ppm: float = 500.0
    jump_ms: float = 250.0
    jump_confirm_s: float = 2.0

    def __post_init__(self) -> None:
        require_range("bucket_s", self.bucket_s, 0.01, 3600)
        require_range("max_buckets", self.max_buckets, 4, 10_000)
        require_range("drift_after_s", self.drift_after_s, 0, self.bucket_s * self.max_buckets)
        require_range("max_drift_ppm", self.max_drift_ppm, 0, 10_000)
        require_range("jump_ms", self.jump_ms, 1, 3_600_000)
        require_range("jump_confirm_s", self.jump_confirm_s, 0, 3600)


class ClockReport(NamedTuple):
    """``offset_ns`` = local - foreign at the newest pair; ``jitter_ns`` = median latency above it.

    ``is_exchange``: measured by requests and responses, so that the least latency is not part of
    the offset; then ``jitter_ns`` is half the median round trip.
    """

    offset_ns: int
    drift_ppm: float
    jitter_ns: int
    pair_count: int
    jump_count: int
    is_exchange: bool


class _Best(NamedTuple):
    """Of one bucket: the foreign stamp, local - foreign there, and its cost (smaller = better)."""

    foreign_ns: int
    delta_ns: int
    cost_ns: int


class ClockMapper:
    """Estimates offset and drift online and maps foreign stamps to local ones.

    Feed it ``add_pair`` (stamp of a message, time of its arrival) or ``add_exchange``. Once an
    exchange was seen, pairs no longer count: a message's latency cannot be told from an offset, an
    exchange's can. Integers are only ever subtracted, never turned to float, so nothing is lost
    over any length of time.
    """

    def __init__(self, config: ClockConfig | None = None) -> None:
        self._config = config or ClockConfig()
        self._bucket_ns = round(self._config.bucket_s * NS_PER_S)
        self._jump_ns = round(self._config.jump_ms * NS_PER_MS)
        self._confirm_ns = round(self._config.jump_confirm_s * NS_PER_S)
        self._pair_count = 0
        self._jump_count = 0
        self._is_exchange = False
        self._forget()

    def _forget(self) -> None:
        self._buckets: deque[_Best] = deque(maxlen=self._config.max_buckets)
        self._bucket_index: int | None = None
        self._residuals: deque[int] = deque(maxlen=256)
        self._reference_ns = 0
        self._offset_ns = 0
        self._drift = 0.0
        self._newest_ns = 0
        self._suspects: deque[tuple[int, int, int]] = deque(maxlen=256)

    @property
    def is_ready(self) -> bool:
        """True once anything was measured."""
        return bool(self._buckets)

    def add_pair(self, foreign_ns: int, local_ns: int) -> None:
        """A message stamped ``foreign_ns`` arrived at ``local_ns``."""
        if not self._is_exchange:
            self._add(foreign_ns, local_ns - foreign_ns, None)

    def add_exchange(self, request_ns: int, remote_ns: int, response_ns: int) -> None:
        """Asked at local ``request_ns``, the device read ``remote_ns``, answered ``response_ns``.

        A response before its request is ignored (no such measurement exists).
        """
        round_trip_ns = response_ns - request_ns
        if round_trip_ns < 0:
            return
        if not self._is_exchange:
            self._is_exchange = True
            self._forget()
        self._add(remote_ns, request_ns + round_trip_ns // 2 - remote_ns, round_trip_ns)

    def to_local(self, foreign_ns: int) -> int:
        """Map a stamp; the stamp itself while nothing was measured."""
        elapsed_ns = foreign_ns - self._reference_ns
        return foreign_ns + self._offset_ns + round(self._drift * elapsed_ns)

    def report(self) -> ClockReport:
        """The estimate as it stands."""
        jitter = int(np.median(self._residuals)) if self._residuals else 0
        return ClockReport(
            self.to_local(self._newest_ns) - self._newest_ns,
            self._drift / PPM,
            jitter,
            self._pair_count,
            self._jump_count,
            self._is_exchange,
        )

    def _add(self, foreign_ns: int, delta_ns: int, cost_ns: int | None) -> None:
        self._pair_count += 1
        if self._buckets and self._is_suspect(foreign_ns, delta_ns):
            return
        self._newest_ns = max(self._newest_ns, foreign_ns)
        best = _Best(foreign_ns, delta_ns, delta_ns if cost_ns is None else cost_ns)
        index = foreign_ns // self._bucket_ns
        if index != self._bucket_index:
            self._bucket_index = index
            self._buckets.append(best)
            self._fit()
        elif best.cost_ns < self._buckets[-1].cost_ns:
            self._buckets[-1] = best
            self._fit()
        residual = delta_ns - (self.to_local(foreign_ns) - foreign_ns)
        self._residuals.append(residual if cost_ns is None else cost_ns // 2)

    def _is_suspect(self, foreign_ns: int, delta_ns: int) -> bool:
        """Outliers are set aside; if they go on long enough, the clock was set anew."""
        off_ns = delta_ns - (self.to_local(foreign_ns) - foreign_ns)
        if abs(off_ns) <= self._jump_ns:
            self._suspects.clear()
            return False
        self._suspects.append((foreign_ns, delta_ns, off_ns))
        first_foreign_ns, first_delta_ns, first_off_ns = self._suspects[0]
        if abs(off_ns - first_off_ns) > self._jump_ns:
            self._suspects.clear()
            self._suspects.append((foreign_ns, delta_ns, off_ns))
            return True
        foreign_span_ns = foreign_ns - first_foreign_ns
        local_span_ns = foreign_span_ns + delta_ns - first_delta_ns
        if min(foreign_span_ns, local_span_ns) < self._confirm_ns:
            return True
        self._jump_count += 1
        self._forget()
        return False

    def _fit(self) -> None:
        """Theil-Sen slope over the buckets' best pairs, then the lower edge of their residuals."""
        first = self._buckets[0]
        elapsed = np.array([b.foreign_ns - first.foreign_ns for b in self._buckets], np.float64)
        delta = np.array([b.delta_ns - first.delta_ns for b in self._buckets], np.float64)
        drift = self._slope(elapsed, delta)
        rest = delta - drift * elapsed
        share = 0.5 if self._is_exchange else 0.1
        self._drift = drift
        self._reference_ns = first.foreign_ns
        self._offset_ns = first.delta_ns + round(float(np.quantile(rest, share)))

    def _slope(self, elapsed: FloatArray, delta: FloatArray) -> float:
        span = elapsed.max() - elapsed.min()
        if span < self._config.drift_after_s * NS_PER_S or len(elapsed) < 4:
            return 0.0
        half = len(elapsed) // 2
        run = elapsed[-half:, None] - elapsed[None, :half]
        rise = delta[-half:, None] - delta[None, :half]
        apart = run > 0.25 * span
        slope = float(np.median(rise[apart] / run[apart]))
        limit = self._config.max_drift_ppm * PPM
        return min(max(slope, -limit), limit)
