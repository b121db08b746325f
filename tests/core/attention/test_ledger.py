import pytest

from tests.core.attention.streams import blink, look, run
from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.events import TraceClosed, TraceGrown, TraceOpened
from tracevlm_ros.core.attention.ledger import AttentionLedger
from tracevlm_ros.core.attention.segmenter import TraceSegmenter
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import GazeSample

S = 1_000_000_000


def grow(trace_id: int, second: float, pen_up: bool = False) -> TraceGrown:
    return TraceGrown(trace_id, GazeSample(round(second * S), 0, 0), pen_up, 1.0, 0)


def test_dwell_is_the_time_between_samples_without_lifted_pen():
    ledger = AttentionLedger()
    for event in (
        TraceOpened(1, S),
        grow(1, 1.0),
        grow(1, 1.5),
        grow(1, 4.0, pen_up=True),
        grow(1, 4.25),
        TraceClosed(1, round(4.25 * S), "shift"),
    ):
        ledger.observe(event)
    assert ledger.dwell_s == {1: pytest.approx(0.75)}


def test_transitions_tell_from_where_to_where_when_and_after_what_gap():
    ledger = AttentionLedger()
    for event in (
        TraceOpened(1, S),
        grow(1, 1.0),
        grow(1, 2.0),
        TraceClosed(1, 2 * S, "shift"),
        TraceOpened(2, round(2.5 * S)),
        grow(2, 2.5),
    ):
        ledger.observe(event)
    (transition,) = ledger.transitions
    assert (transition.from_id, transition.to_id, transition.stamp_ns) == (1, 2, round(2.5 * S))
    assert transition.gap_s == pytest.approx(0.5)
    assert ledger.dwell_s == {1: pytest.approx(1.0), 2: 0.0}


def test_the_ledger_is_bounded_to_the_newest_traces():
    ledger = AttentionLedger(max_traces=3)
    for trace_id in range(1, 10):
        ledger.observe(TraceOpened(trace_id, trace_id * S))
        ledger.observe(TraceClosed(trace_id, trace_id * S, "shift"))
    assert list(ledger.dwell_s) == [7, 8, 9]
    assert [transition.to_id for transition in ledger.transitions] == [7, 8, 9]


def test_the_newest_are_the_last_ones_oldest_first():
    ledger = AttentionLedger()
    assert ledger.newest(2) == ({}, ())
    for trace_id in range(1, 5):
        ledger.observe(TraceOpened(trace_id, trace_id * S))
        ledger.observe(grow(trace_id, trace_id + 0.25))
    newest = ledger.newest(2)
    assert list(newest.dwell_s.items()) == [(3, 0.25), (4, 0.25)]
    assert newest.transitions == ledger.transitions[-2:]


def test_events_of_a_real_stream_add_up():
    ledger = AttentionLedger()
    segmenter = TraceSegmenter(TraceConfig(), Drops())
    samples = (look(15, 15, 0, 600), blink(600, 700), look(15, 15, 700, 1000))
    for event in run(segmenter, *samples, look(45, 30, 1000, 1500)):
        ledger.observe(event)
    assert ledger.dwell_s[1] == pytest.approx(0.9, abs=0.03)
    assert ledger.dwell_s[2] == pytest.approx(0.5, abs=0.03)
    assert [(t.from_id, t.to_id) for t in ledger.transitions] == [(1, 2)]
