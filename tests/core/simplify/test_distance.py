"""The arithmetic: arrays equal scalars to the last bit, and bounds are bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.simplify.traces import hard_traces, points_lists
from tracevlm_ros.core.simplify.block_search import BlockSearch
from tracevlm_ros.core.simplify.distance import (
    BOUND_MARGIN,
    BOUND_MARGIN_PX2,
    Boxes,
    Chords,
    chord_between,
    squared_distance,
    squared_distance_bound,
    squared_distance_bounds,
    squared_distances,
    squared_distances_each,
)
from tracevlm_ros.core.simplify.reference import farthest_interior

traces = st.one_of(hard_traces(max_size=40), points_lists().filter(lambda p: len(p) > 2))


@settings(deadline=None)
@given(traces, st.booleans())
def test_distances_of_arrays_equal_scalars_to_the_last_bit(trace, is_line):
    chord = chord_between(*trace[0].tolist(), *trace[-1].tolist())
    one_by_one = [squared_distance(x, y, chord, is_line) for x, y in trace.tolist()]
    x, y = trace.T
    assert squared_distances(x, y, chord, is_line).tolist() == one_by_one
    to_the_end = [chord_between(*a, *trace[-1].tolist()) for a in trace.tolist()]
    chords = Chords(*np.array(to_the_end).T)
    each = [squared_distance(*trace[1].tolist(), chord, is_line) for chord in to_the_end]
    assert squared_distances_each(trace[1, :1], trace[1, 1:], chords, is_line).tolist() == each


@settings(deadline=None, max_examples=300)
@given(traces, st.booleans(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_point_of_a_box_exceeds_its_bound(trace, is_line, first, last):
    chord = chord_between(*trace[first % len(trace)].tolist(), *trace[last % len(trace)].tolist())
    low, high = trace.min(axis=0).tolist(), trace.max(axis=0).tolist()
    bound = squared_distance_bound(*low, *high, chord, is_line)
    assert all(squared_distance(x, y, chord, is_line) <= bound for x, y in trace.tolist())


@settings(deadline=None, max_examples=300)
@given(traces, st.booleans(), st.integers(0, 1000), st.integers(1, 8))
def test_no_point_of_many_boxes_exceeds_their_bounds_and_the_margins(trace, is_line, first, size):
    chord = chord_between(*trace[first % len(trace)].tolist(), *trace[-1].tolist())
    groups = [trace[at : at + size] for at in range(0, len(trace), size)]
    low = np.array([group.min(axis=0) for group in groups])
    high = np.array([group.max(axis=0) for group in groups])
    boxes = Boxes(
        *(low + high).T / 2, *np.maximum(high - (low + high) / 2, (low + high) / 2 - low).T
    )
    extent2 = float(((trace.max(axis=0) - trace.min(axis=0)) ** 2).sum())
    bounds = squared_distance_bounds(boxes, chord, is_line)
    bounds = bounds + BOUND_MARGIN * extent2 + BOUND_MARGIN_PX2
    for group, bound in zip(groups, bounds.tolist(), strict=True):
        assert all(squared_distance(x, y, chord, is_line) <= bound for x, y in group.tolist())


@pytest.mark.parametrize("is_line", [False, True])
def test_block_search_finds_the_first_of_equals_with_and_without_a_guess(is_line):
    rng = np.random.default_rng(8)
    points = rng.integers(0, 12, (3_000, 2)).astype(np.float64)
    search = BlockSearch(points, is_line)
    for count in (5, 63, 64, 65, 1_500, 3_000):
        search.index(count)
        starts = np.unique(rng.integers(0, max(1, count - 2), 6))
        expected = [farthest_interior(points, start, count - 1, is_line) for start in starts]
        assert [search.farthest(int(start), count - 1) for start in starts] == expected
        guesses = (starts + count - 1 + 1) // 2
        assert search.farthest_of_chain(starts, count - 1, guesses) == expected
