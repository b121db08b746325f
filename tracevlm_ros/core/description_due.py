"""When a trace is to be described."""

from tracevlm_ros.core.config import LiveConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.live_trace import LiveTrace
from tracevlm_ros.core.live_traces import NS_PER_MS
from tracevlm_ros.core.types import TraceSnapshot


def is_due(
    live: LiveTrace, snapshot: TraceSnapshot, stamp_ns: int, settings: LiveConfig, drops: Drops
) -> bool:
    """Once when a trace is mature, again while it grows, and once more when it has closed.

    Marks a closed trace as told; ``drops`` counts ``trace_too_short``.
    """
    if live.is_told:
        return False
    is_short = snapshot.end_ns - snapshot.start_ns < settings.min_dwell_ms * NS_PER_MS
    if not snapshot.is_open:
        live.is_told = True
        if is_short:
            drops["trace_too_short"] += 1
        return not is_short
    if is_short or live.described_count == 0:
        return not is_short
    has_grown = snapshot.sample_count > live.described_count
    return has_grown and stamp_ns - live.described_ns >= settings.refresh_ms * NS_PER_MS
