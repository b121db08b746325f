"""Exactness at every instant, and what a growing segment refuses."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.simplify.textbook import textbook_indices
from tests.core.simplify.traces import KINDS, hard_traces, points_lists, tolerances_of
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.simplify import IncrementalSimplifier, has_numba, simplify_reference
from tracevlm_ros.core.simplify.block_search import BlockSearch
from tracevlm_ros.core.simplify.tree_arrays import NODES

METRICS = ("segment", "line")
BACKENDS = (
    "numpy",
    pytest.param(
        "numba",
        marks=pytest.mark.skipif(
            not has_numba(),
            reason="numba is not installed; pip install numba to test the compiled path",
        ),
    ),
)
REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def prefixes_that_differ(trace, backend, metric, textbook=textbook_indices):
    """Grow ``trace``, asking with changing tolerances; (prefixes compared, those that differ)."""
    simplifier = IncrementalSimplifier(metric, backend=backend)
    tolerances = tolerances_of(trace)
    compared, differing = 0, []
    for count, (x, y) in enumerate(trace, 1):
        simplifier.append(x, y)
        tolerance = tolerances[(count // 7) % len(tolerances)]
        expected = textbook(trace[:count], tolerance, metric)
        compared += 1
        if not np.array_equal(simplifier.keypoints(tolerance), expected):
            differing.append(count)
    return compared, differing


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_prefix_of_hard_traces_equals_the_textbook(backend):
    compared = {"prefixes": 0}

    @settings(REPEATABLE, max_examples=620)
    @given(hard_traces())
    def grow(trace):
        for metric in METRICS:
            count, differing = prefixes_that_differ(trace, backend, metric)
            compared["prefixes"] += count
            assert differing == []

    grow()
    assert compared["prefixes"] >= 40_000


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_prefix_of_long_traces_that_use_the_boxes_equals_the_textbook(kind, backend, metric):
    trace = kind(np.random.default_rng(3), 800)
    assert prefixes_that_differ(trace, backend, metric) == (800, [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_coordinates_at_all_equal_the_plain_textbook(backend):
    @settings(REPEATABLE, max_examples=300)
    @given(points_lists())
    def grow(trace):
        for metric in METRICS:
            assert prefixes_that_differ(trace, backend, metric, simplify_reference)[1] == []

    grow()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_compiled_textbook_is_the_textbook(kind):
    trace = kind(np.random.default_rng(4), 90)
    for metric in METRICS:
        for tolerance in tolerances_of(trace):
            plain = simplify_reference(trace, tolerance, metric)
            assert np.array_equal(textbook_indices(trace, tolerance, metric), plain)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_trace_asked_rarely_and_in_blocks_equals_the_textbook(backend):
    trace = KINDS[0](np.random.default_rng(5), 6_000)
    simplifier = IncrementalSimplifier(backend=backend)
    for part in np.array_split(trace, 12):
        simplifier.extend(part)
        keypoints = simplifier.keypoints(4.0)
        assert np.array_equal(keypoints, textbook_indices(trace[: len(simplifier)], 4.0, "segment"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_of_past_splits_is_cut_back_without_a_trace_in_the_result(backend, monkeypatch):
    monkeypatch.setattr("tracevlm_ros.core.simplify.growing.MEMO_PER_POINT", 2)
    trace = KINDS[-1](np.random.default_rng(6), 1_500)
    simplifier = IncrementalSimplifier(max_points=1_500, backend=backend)
    simplifier.extend(trace[:-700])
    for count in range(801, 1_500):
        simplifier.append(*trace[count - 1])
        tolerance = (0.0, 1.0, 6.0)[count % 3]
        expected = textbook_indices(trace[:count], tolerance, "segment")
        assert np.array_equal(simplifier.keypoints(tolerance), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_another_tolerance_of_an_open_segment_searches_no_closed_interval_again(
    metric, monkeypatch
):
    """The numpy form: every search of an interval that does not end at the newest point."""
    searched = []
    search = BlockSearch.farthest

    def spy(self, start, end):
        searched.append((start, end))
        return search(self, start, end)

    monkeypatch.setattr(BlockSearch, "farthest", spy)
    trace = KINDS[0](np.random.default_rng(8), 1_200)
    simplifier = IncrementalSimplifier(metric, backend="numpy")
    simplifier.extend(trace)
    for tolerance in (40.0, 2.0):
        simplifier.keypoints(tolerance)
    closed = [interval for interval in searched if interval[1] < len(trace) - 1]
    assert len(closed) > 100
    assert len(closed) == len(set(closed))
    searched.clear()
    for tolerance in (5.0, 2.0, 40.0, 11.0, 2.0):
        expected = textbook_indices(trace, tolerance, metric)
        assert np.array_equal(simplifier.keypoints(tolerance), expected)
    assert [interval for interval in searched if interval[1] < len(trace) - 1] == []


@pytest.mark.skipif(not has_numba(), reason="numba is not installed")
@pytest.mark.parametrize("metric", METRICS)
def test_another_tolerance_adds_no_node_to_the_compiled_tree(metric):
    """The compiled form searches a closed interval only when it makes its node."""
    simplifier = IncrementalSimplifier(metric, backend="numba")
    simplifier.extend(KINDS[0](np.random.default_rng(8), 1_200))
    simplifier.keypoints(2.0)
    head = simplifier._tree._tree.head
    made = head[NODES]
    assert made > 100
    for tolerance in (5.0, 2.0, 40.0, 11.0, 2.0):
        simplifier.keypoints(tolerance)
    assert simplifier._tree._tree.head is head
    assert head[NODES] == made


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_closing_any_tolerance_equals_the_textbook(backend):
    @settings(REPEATABLE, max_examples=120)
    @given(hard_traces(), st.lists(st.floats(0.0, 1e3), max_size=4))
    def ask(trace, others):
        for metric in METRICS:
            simplifier = IncrementalSimplifier(metric, backend=backend)
            half = len(trace) // 2
            simplifier.extend(trace[:half])
            simplifier.keypoints(tolerances_of(trace)[2])
            simplifier.extend(trace[half:])
            simplifier.close()
            for tolerance in (*tolerances_of(trace), *others, *reversed(tolerances_of(trace))):
                expected = textbook_indices(trace, tolerance, metric)
                assert np.array_equal(simplifier.keypoints(tolerance), expected)

    ask()


@pytest.mark.parametrize("backend", BACKENDS)
def test_keypoints_of_a_greater_tolerance_are_among_those_of_a_smaller_one(backend):
    simplifier = IncrementalSimplifier(backend=backend)
    simplifier.extend(KINDS[0](np.random.default_rng(7), 500))
    fine, coarse = simplifier.keypoints(5.0), simplifier.keypoints(25.0)
    assert len(coarse) < len(fine)
    assert set(coarse) <= set(fine)


def test_keypoints_given_out_do_not_change_when_the_segment_grows():
    simplifier = IncrementalSimplifier(backend="numpy")
    simplifier.extend([(0, 0), (5, 9), (10, 0)])
    before = simplifier.keypoints(1.0)
    simplifier.extend([(11, 30), (40, 2)])
    simplifier.keypoints(1.0)
    assert before.tolist() == [0, 1, 2]


def test_no_point_and_one_point_are_their_own_keypoints():
    simplifier = IncrementalSimplifier()
    assert simplifier.keypoints(5.0).tolist() == []
    simplifier.append(3, 4)
    assert simplifier.keypoints(5.0).tolist() == [0]


@pytest.mark.parametrize("bad", [(np.nan, 0.0), (0.0, np.inf), (-np.inf, 1.0), (2e12, 0.0)])
def test_a_point_that_is_no_place_is_refused_and_leaves_the_segment_as_it_was(bad):
    simplifier = IncrementalSimplifier()
    simplifier.extend([(0, 0), (1, 5)])
    with pytest.raises(InputError, match="must be finite"):
        simplifier.append(*bad)
    with pytest.raises(InputError, match="point 1 is"):
        simplifier.extend([(7, 7), bad])
    assert simplifier.points_px.tolist() == [[0, 0], [1, 5]]


def test_the_point_that_fills_a_segment_closes_it_and_says_so():
    simplifier = IncrementalSimplifier(max_points=3)
    assert simplifier.append(0, 0)
    assert simplifier.append(1, 8)
    assert not simplifier.append(2, 0)
    assert simplifier.is_full
    assert simplifier.is_closed
    with pytest.raises(InputError, match="full at max_points=3"):
        simplifier.append(3, 0)
    assert simplifier.keypoints(5.0).tolist() == [0, 1, 2]


def test_extend_takes_what_fits_and_tells_how_many():
    simplifier = IncrementalSimplifier(max_points=600)
    assert simplifier.extend(np.zeros((400, 2))) == 400
    assert simplifier.extend(np.ones((400, 2))) == 200
    assert simplifier.is_full
    assert simplifier.extend(np.zeros((0, 2))) == 0


def test_a_closed_segment_takes_no_point_and_keeps_its_keypoints():
    simplifier = IncrementalSimplifier()
    simplifier.extend([(0, 0), (1, 8), (2, 0)])
    simplifier.close()
    simplifier.close()
    with pytest.raises(InputError, match="segment is closed with 3 points"):
        simplifier.extend([(3, 3)])
    assert simplifier.keypoints(5.0).tolist() == [0, 1, 2]


def test_points_handed_out_cannot_be_written():
    simplifier = IncrementalSimplifier()
    simplifier.append(1, 2)
    with pytest.raises(ValueError, match="read-only"):
        simplifier.points_px[0, 0] = 5.0
    simplifier.append(3, 4)
    assert simplifier.points_px.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("max_points", [1, 0, -5, 2.5, True])
def test_fewer_than_two_points_at_most_are_refused(max_points):
    with pytest.raises(ConfigError, match="max_points is"):
        IncrementalSimplifier(max_points=max_points)


@pytest.mark.parametrize("tolerance", [-1.0, np.nan, np.inf])
def test_a_tolerance_that_is_no_length_is_refused(tolerance):
    with pytest.raises(ConfigError, match="tolerance_px is"):
        IncrementalSimplifier().keypoints(tolerance)


def test_unknown_metric_and_backend_are_refused():
    with pytest.raises(ConfigError, match="must be one of segment, line"):
        IncrementalSimplifier(metric="area")
    with pytest.raises(ConfigError, match="must be one of auto, numpy, numba"):
        IncrementalSimplifier(backend="cuda")
