"""How long each trace of a recording was looked at, and from which to which attention went."""

from collections.abc import Mapping
from typing import NamedTuple

from tracevlm_ros.core.attention.ledger import Transition
from tracevlm_ros.core.attention_record import AttentionRecord


class Looked(NamedTuple):
    """One trace: seconds looked at, and what was said of it last ("" when nothing)."""

    trace_id: int
    dwell_s: float
    said: str


class AttentionTimes(NamedTuple):
    """The newest 1024 traces and transitions, oldest first."""

    looked: tuple[Looked, ...]
    transitions: tuple[Transition, ...]


def attention_times(record: AttentionRecord, said: Mapping[int, str]) -> AttentionTimes:
    """What ``record`` holds, with the text ``said`` of each trace id."""
    looked = tuple(
        Looked(trace_id, dwell_s, said.get(trace_id, ""))
        for trace_id, dwell_s in record.dwell_s().items()
    )
    return AttentionTimes(looked, record.transitions())
