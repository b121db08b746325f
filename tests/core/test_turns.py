"""Who is asked about when."""

import itertools
from collections.abc import Sequence

import pytest

from tracevlm_ros.core.turns import Turns

MS = 1_000_000
FRAME_MS = 33
LONG_MS = 1e4


def asked(
    frames: Sequence[dict[int, bool]], every: int, within_ms: float = LONG_MS
) -> list[set[int]]:
    turns = Turns()
    return [
        set(turns.take(index * FRAME_MS * MS, carried, every, within_ms))
        for index, carried in enumerate(frames)
    ]


def test_one_trace_is_asked_about_in_every_other_frame() -> None:
    assert asked([{1: False}] + [{1: True}] * 4, every=2) == [{1}, set(), {1}, set(), {1}]


def test_three_traces_that_begin_together_come_to_share_the_frames() -> None:
    taken = asked([dict.fromkeys((1, 2, 3), False)] + [dict.fromkeys((1, 2, 3), True)] * 8, every=2)
    assert [len(frame) for frame in taken] == [3, 0, 2, 1, 2, 1, 2, 1, 2]
    for trace_id in (1, 2, 3):
        own = [index for index, frame in enumerate(taken) if trace_id in frame]
        assert max(b - a for a, b in itertools.pairwise(own)) <= 3


def test_in_every_frame_all_are_asked_about() -> None:
    frames = [dict.fromkeys((1, 2), True)] * 3
    assert asked(frames, every=1) == [{1, 2}] * 3


def test_what_the_memory_does_not_know_is_asked_about_at_once() -> None:
    frames = [{1: True}, {1: True, 2: False}, {1: False, 2: True}, {1: True, 2: False}]
    assert asked(frames, every=3) == [{1}, {2}, {1}, {2}]


@pytest.mark.parametrize(("within_ms", "frames_apart"), [(66.0, 2), (67.0, 3), (0.0, 1)])
def test_an_answer_that_is_too_old_is_asked_for_anew(within_ms: float, frames_apart: int) -> None:
    taken = asked([{1: True}] * 7, every=100, within_ms=within_ms)
    assert [i for i, frame in enumerate(taken) if frame] == list(range(0, 7, frames_apart))


def test_a_trace_with_new_words_is_next_and_one_that_was_away_begins_anew() -> None:
    turns = Turns()
    assert turns.take(0, {1: True, 2: True}, 5, LONG_MS) == {1, 2}
    turns.forget(2)
    assert turns.take(MS, {1: True, 2: True}, 5, LONG_MS) == {2}
    assert turns.take(2 * MS, {2: True}, 5, LONG_MS) == set()
    assert turns.take(3 * MS, {1: True, 2: True}, 5, LONG_MS) == {1}
