"""The node's state as diagnostic_msgs, in five statuses: input, engine, latency, drops,
attention."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from tracevlm_ros.core.attention.ledger import NewestAttention
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.nodes.qos import Mismatch
from tracevlm_ros.nodes.stopwatch import Percentiles


class NodeState(NamedTuple):
    """One moment of the node. ``drops_before`` are the counts of the last report; ``pending`` is
    the work that waits or is being done; ``drift_px`` what is added to gaze against drift, None
    while that is off."""

    lifecycle: str
    engine: str
    model_id: str
    backend: str
    notes: tuple[str, ...]
    pending: int
    rates_hz: Mapping[str, float]
    totals: Mapping[str, int]
    stages: Mapping[str, Percentiles]
    drops: Drops
    drops_before: Drops
    mismatches: Sequence[Mismatch]
    drift_px: tuple[float, float] | None = None
    attention: NewestAttention | None = None


def diagnostics_message(name: str, state: NodeState, stamp: Time) -> DiagnosticArray:
    """All five statuses; ``name`` is the node's full name."""
    message = DiagnosticArray(
        status=[
            _status(name, "input", state, *_input(state)),
            _status(name, "engine", state, *_engine(state)),
            _status(name, "latency", state, *_latency(state)),
            _status(name, "drops", state, *_drops(state)),
            _status(name, "attention", state, *_attention(state)),
        ]
    )
    message.header.stamp = stamp
    return message


class _Verdict(NamedTuple):
    level: bytes
    message: str
    values: dict[str, str]


def _status(
    name: str, part: str, state: NodeState, level: bytes, message: str, values: dict[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=f"{name.lstrip('/')}: {part}",
        message=message,
        hardware_id=state.model_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def _input(state: NodeState) -> _Verdict:
    values = {"pending": str(state.pending)}
    values |= {f"{stream}_hz": f"{rate:.2f}" for stream, rate in state.rates_hz.items()}
    values |= {f"{stream}_total": str(count) for stream, count in state.totals.items()}
    if state.drift_px is not None:
        x_px, y_px = state.drift_px
        values |= {"drift_x_px": f"{x_px:.1f}", "drift_y_px": f"{y_px:.1f}"}
    values |= {f"mismatch_{i}": item.text for i, item in enumerate(state.mismatches)}
    if state.mismatches:
        return _Verdict(DiagnosticStatus.ERROR, state.mismatches[0].text, values)
    silent = [name for name in ("image", "gaze") if not state.rates_hz.get(name)]
    if state.lifecycle == "active" and silent:
        return _Verdict(DiagnosticStatus.WARN, f"nothing comes on: {', '.join(silent)}", values)
    return _Verdict(DiagnosticStatus.OK, state.lifecycle, values)


def _engine(state: NodeState) -> _Verdict:
    values = {
        "lifecycle": state.lifecycle,
        "state": state.engine,
        "model_id": state.model_id,
        "backend": state.backend,
    }
    values |= {f"note_{index}": note for index, note in enumerate(state.notes)}
    level = DiagnosticStatus.ERROR if state.engine.startswith("failed") else DiagnosticStatus.OK
    return _Verdict(level, state.engine, values)


def _latency(state: NodeState) -> _Verdict:
    values: dict[str, str] = {}
    for stage, times in state.stages.items():
        values |= {
            f"{stage}_p50_ms": f"{times.p50_ms:.2f}",
            f"{stage}_p95_ms": f"{times.p95_ms:.2f}",
            f"{stage}_p99_ms": f"{times.p99_ms:.2f}",
        }
    whole = state.stages.get("received_to_published")
    text = "no frame yet" if whole is None else f"p50 {whole.p50_ms:.1f} ms"
    return _Verdict(DiagnosticStatus.OK, text, values)


def _drops(state: NodeState) -> _Verdict:
    values = {reason: str(count) for reason, count in sorted(state.drops.items()) if count}
    fresh = {
        reason: count - state.drops_before[reason]
        for reason, count in state.drops.items()
        if count > state.drops_before[reason]
    }
    if not fresh:
        return _Verdict(DiagnosticStatus.OK, "nothing dropped since the last report", values)
    text = ", ".join(f"{reason} {count}" for reason, count in sorted(fresh.items()))
    return _Verdict(DiagnosticStatus.WARN, f"dropped since the last report: {text}", values)


def _attention(state: NodeState) -> _Verdict:
    """Seconds on each of the newest traces; seconds on neither between one and the next."""
    if state.attention is None or not state.attention.dwell_s:
        return _Verdict(DiagnosticStatus.OK, "nothing looked at yet", {})
    dwell_s, transitions = state.attention
    values = {
        f"trace_{trace_id}_dwell_s": f"{spent_s:.3f}" for trace_id, spent_s in dwell_s.items()
    }
    values |= {
        f"from_{one.from_id}_to_{one.to_id}_gap_s": f"{one.gap_s:.3f}" for one in transitions
    }
    newest = next(reversed(dwell_s))
    return _Verdict(DiagnosticStatus.OK, f"trace {newest} for {dwell_s[newest]:.1f} s", values)
