"""A pointer as gaze."""

from math import isnan, nan
from typing import Any

import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import PenState
from tracevlm_ros.ingest.live_device import BadMessage
from tracevlm_ros.ingest.pointer import Pointer, PointerConfig

MS = 1_000_000


class HandClock:
    """A clock that goes when told to."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_a_stroke_is_down_between_press_and_release(clock: HandClock) -> None:
    pointer = Pointer(now=clock)
    samples = []
    for x, is_down in ((1.0, False), (2.0, True), (3.0, None), (4.0, False), (5.0, None)):
        samples.append(pointer.move(x, 10.0, is_down=is_down))
        clock.ns += MS
    assert [sample.x_px for sample in samples] == [1, 2, 3, 4, 5]
    up, down = PenState.UP, PenState.DOWN
    assert [sample.pen for sample in samples] == [up, down, down, up, up]
    assert [sample.stamp_ns for sample in samples] == [1_000_000_000 + i * MS for i in range(5)]
    assert {sample.confidence for sample in samples} == {1.0}


def test_a_pointer_that_rests_is_repeated_at_its_rate(clock: HandClock) -> None:
    pointer = Pointer(PointerConfig(rate_hz=100.0), clock)
    pointer.move(7.0, 8.0, is_down=True)
    repeats = []
    for _ in range(100):
        clock.ns += MS
        if (sample := pointer.repeat()) is not None:
            repeats.append(sample)
    assert len(repeats) == 10
    assert {(s.x_px, s.y_px, s.pen) for s in repeats} == {(7.0, 8.0, PenState.DOWN)}
    assert [s.stamp_ns for s in repeats] == [1_000_000_000 + i * 10 * MS for i in range(1, 11)]


def test_before_the_first_event_it_is_lost_gaze_with_the_pen_up(clock: HandClock) -> None:
    sample = Pointer(now=clock).repeat()
    assert sample is not None
    assert isnan(sample.x_px) and isnan(sample.y_px)
    assert (sample.confidence, sample.pen) == (0.0, PenState.UP)


def test_stamps_rise_even_when_the_clock_stands(clock: HandClock) -> None:
    pointer = Pointer(now=clock)
    stamps = [pointer.move(1.0, 1.0).stamp_ns for _ in range(3)]
    assert stamps == sorted(set(stamps))


def test_what_only_points_lets_go_when_no_point_comes(clock: HandClock) -> None:
    pointer = Pointer(PointerConfig(rate_hz=100.0, hold_ms=50.0), clock)
    assert pointer.point(1.0, 2.0).pen == PenState.DOWN
    clock.ns += 40 * MS
    held = pointer.repeat()
    assert held is not None and held.pen == PenState.DOWN
    clock.ns += 20 * MS
    let_go = pointer.repeat()
    assert let_go is not None and let_go.pen == PenState.UP
    clock.ns += 20 * MS
    after = pointer.repeat()
    assert after is not None and after.pen == PenState.UP


def test_an_event_of_a_program_moves_and_presses(clock: HandClock) -> None:
    pointer = Pointer(now=clock)
    assert pointer.take({"x": 1, "y": 2.5, "button": 1})[1:] == (1.0, 2.5, 1.0, PenState.DOWN)
    assert pointer.take({"x": 3, "y": 2}).pen == PenState.DOWN
    assert pointer.take({"x": 3, "y": 2, "button": False}).pen == PenState.UP


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"x": 1}, "pointer_key_missing"),
        ({"x": "1", "y": 2}, "pointer_malformed"),
        ({"x": nan, "y": 2}, "pointer_malformed"),
        ({"x": 1, "y": 2, "button": "left"}, "pointer_malformed"),
        ({"x": 1, "y": 2, "button": [1]}, "pointer_malformed"),
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        Pointer().take(values)
    assert caught.value.reason == reason


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        PointerConfig(rate_hz=0.0)
