"""The arithmetic: arrays equal scalars to the last bit, and bounds are bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.simplify.traces import KINDS, hard_traces, points_lists
from tracevlm_ros.core.simplify.block_search import BY_HAND, BlockSearch
from tracevlm_ros.core.simplify.chord_frames import frames_of, nearly_squared
from tracevlm_ros.core.simplify.distance import (
    chord_between,
    squared_distance,
    squared_distance_bound,
    squared_distances,
)
from tracevlm_ros.core.simplify.point_blocks import BLOCK, PointBlocks
from tracevlm_ros.core.simplify.reference import farthest_interior
from tracevlm_ros.core.simplify.short_scan import farthest_by_hand

traces = st.one_of(hard_traces(max_size=40), points_lists().filter(lambda p: len(p) > 2))


@settings(deadline=None)
@given(traces, st.booleans())
def test_distances_of_arrays_equal_scalars_to_the_last_bit(trace, is_line):
    chord = chord_between(*trace[0].tolist(), *trace[-1].tolist())
    one_by_one = [squared_distance(x, y, chord, is_line) for x, y in trace.tolist()]
    x, y = trace.T
    assert squared_distances(x, y, chord, is_line).tolist() == one_by_one


@settings(deadline=None)
@given(traces, st.booleans())
def test_a_scan_by_hand_equals_the_reference_to_the_last_bit(trace, is_line):
    x, y = trace.T.tolist()
    last = len(trace) - 1
    expected = farthest_interior(trace, 0, last, is_line)
    assert farthest_by_hand(x, y, 0, last, is_line) == expected


@settings(deadline=None, max_examples=300)
@given(traces, st.booleans(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_point_of_a_box_exceeds_its_bound(trace, is_line, first, last):
    chord = chord_between(*trace[first % len(trace)].tolist(), *trace[last % len(trace)].tolist())
    low, high = trace.min(axis=0).tolist(), trace.max(axis=0).tolist()
    bound = squared_distance_bound(*low, *high, chord, is_line)
    assert all(squared_distance(x, y, chord, is_line) <= bound for x, y in trace.tolist())


far_away = st.tuples(traces, st.sampled_from([0.0, 1e3, -1e11])).map(lambda pair: pair[0] + pair[1])


@settings(deadline=None, max_examples=300)
@given(far_away, st.booleans(), st.integers(0, 1000))
def test_near_distances_are_within_the_margin_and_boxes_are_not_exceeded(trace, is_line, first):
    blocks = PointBlocks(trace)
    blocks.extend_to(len(trace))
    first %= len(trace)
    chords = [chord_between(*trace[at].tolist(), *trace[-1].tolist()) for at in (first, 0)]
    exact = [
        [squared_distance(x, y, chord, is_line) for x, y in trace.tolist()] for chord in chords
    ]
    frames = frames_of(chords, *trace[0].tolist(), is_line)
    near = nearly_squared(frames, blocks.rows[:, : len(trace)])
    assert np.abs(near - exact).max() <= blocks.margin_px2
    bounds = nearly_squared(frames, blocks.centres, blocks.halves)
    of_point = bounds[:, np.arange(len(trace)) // BLOCK]
    assert (exact <= of_point + blocks.margin_px2).all()


@pytest.mark.parametrize("is_line", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_block_search_finds_the_first_of_equals(kind, is_line):
    rng = np.random.default_rng(8)
    points = kind(rng, 1_500) + 1e5
    search = BlockSearch(points, is_line)
    for count in (5, 63, 64, 65, 700, 1_500):
        search.index(count)
        ends = rng.integers(count // 2 + 2, count, 6).tolist() if count > BY_HAND else [count - 1]
        for end in ends:
            starts = np.unique(rng.integers(0, end - 1, 4)).tolist()
            expected = [farthest_interior(points, start, end, is_line) for start in starts]
            assert [search.farthest(start, end) for start in starts] == expected
            guesses = [int(rng.integers(start + 1, end)) for start in starts]
            assert search.farthest_of_chain(starts, end, guesses) == expected


@pytest.mark.parametrize("is_line", [False, True])
def test_of_many_points_as_far_the_first_is_found(is_line):
    points = np.zeros((600, 2))
    points[:, 0] = np.arange(600)
    points[100:500, 1] = 7.0
    search = BlockSearch(points, is_line)
    search.index(600)
    assert search.farthest(0, 599) == (100, 49.0)
    assert search.farthest(99, 550) == (100, 49.0)
    assert search.farthest_of_chain([0, 99, 599 - 40], 599, [300, 200, 570]) == [
        (100, 49.0),
        (100, farthest_interior(points, 99, 599, is_line)[1]),
        (560, 0.0),
    ]
