"""The fast batch path against the textbook, segments, and the tolerance of a weight."""

import numpy as np
import pytest

from tests.core.simplify.textbook import textbook_indices
from tests.core.simplify.traces import KINDS, tolerances_of
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.simplify import (
    has_numba,
    simplify,
    simplify_reference,
    simplify_segments,
    tolerance_for,
)

BACKENDS = ("numpy", *(("numba",) if has_numba() else ()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", ["segment", "line"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_batch_equals_the_textbook(kind, metric, backend):
    trace = kind(np.random.default_rng(1), 3_000)
    for tolerance in tolerances_of(trace)[1:]:
        expected = textbook_indices(trace, tolerance, metric)
        assert np.array_equal(simplify(trace, tolerance, metric, backend), expected)


def test_a_right_angle_keeps_its_corner_and_drops_what_lies_between():
    trace = [(0, 0), (5, 0), (10, 0), (10, 5), (10, 10)]
    assert simplify_reference(trace, 1.0).tolist() == [0, 2, 4]


def test_a_point_exactly_at_the_tolerance_is_dropped():
    assert simplify_reference([(0, 0), (5, 5), (10, 0)], 5.0).tolist() == [0, 2]
    assert simplify_reference([(0, 0), (5, 5), (10, 0)], 4.999).tolist() == [0, 1, 2]


def test_of_points_equally_far_the_earliest_splits():
    bump = [(0, 0), (2, 4), (4, 4), (6, 4), (8, 0)]
    assert simplify_reference(bump, 3.0, "line").tolist() == [0, 1, 4]
    assert simplify_reference(bump, 2.0, "line").tolist() == [0, 1, 3, 4]


def test_an_infinite_line_misses_the_turn_of_an_out_and_back_stroke_and_a_segment_does_not():
    stroke = [(0, 0), (100, 0), (10, 0)]
    assert simplify_reference(stroke, 5.0, "line").tolist() == [0, 2]
    assert simplify_reference(stroke, 5.0, "segment").tolist() == [0, 1, 2]


@pytest.mark.parametrize("metric", ["segment", "line"])
def test_a_closed_chord_measures_to_its_point(metric):
    loop = [(0, 0), (10, 0), (10, 10), (0, 10), (0, 0)]
    assert simplify_reference(loop, 5.0, metric).tolist() == [0, 1, 2, 3, 4]
    assert simplify_reference(loop, 20.0, metric).tolist() == [0, 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_point_is_farther_than_the_tolerance_from_the_polyline(backend):
    trace = KINDS[4](np.random.default_rng(2), 900)
    kept = trace[simplify(trace, 6.0, backend=backend)]
    starts, steps = kept[:-1], np.diff(kept, axis=0)
    offsets = trace[:, None] - starts
    along = np.clip((offsets * steps).sum(-1) / np.maximum((steps * steps).sum(-1), 1e-9), 0, 1)
    gaps = np.linalg.norm(offsets - along[..., None] * steps, axis=-1).min(axis=1)
    assert gaps.max() <= 6.0 + 1e-9


def test_a_spiral_deeper_than_the_recursion_limit_is_simplified_by_the_textbook():
    steps = np.arange(3_000)
    zigzag = np.column_stack([steps * 1.0, (steps % 2) * 1e3 * 0.999**steps])
    assert np.array_equal(simplify_reference(zigzag, 1.0), simplify(zigzag, 1.0))
    assert len(simplify(zigzag, 1.0)) > 2_000


def test_too_few_points_to_simplify_all_stay():
    assert simplify(np.zeros((0, 2)), 1.0).tolist() == []
    assert simplify([(1, 1)], 1.0).tolist() == [0]
    assert simplify([(1, 1), (1, 1)], 1.0).tolist() == [0, 1]
    assert simplify_reference([(1, 1), (1, 1)], 1.0).tolist() == [0, 1]


@pytest.mark.parametrize("points", [np.zeros((4, 3)), np.zeros(6), [(0, 0), (np.nan, 1)]])
def test_points_that_are_no_places_are_refused(points):
    with pytest.raises(InputError):
        simplify(points, 1.0)


def test_segments_are_simplified_apart_each_with_the_tolerance_of_its_weight():
    wave = np.column_stack([np.arange(200.0), 12 * np.sin(np.arange(200) / 5)])
    result = simplify_segments(wave, [0, 100], [1.0, 0.2])
    first = result.indices[result.segment == 0]
    second = result.indices[result.segment == 1]
    assert np.array_equal(first, simplify_reference(wave[:100], 5.0))
    assert np.array_equal(second, 100 + simplify_reference(wave[100:], 25.0))
    assert set(result.weight[result.segment == 1]) == {0.2}


def test_nothing_is_simplified_across_a_pen_up():
    straight = np.column_stack([np.arange(10.0), np.zeros(10)])
    result = simplify_segments(straight, [0, 4], [1.0, 1.0])
    assert result.indices.tolist() == [0, 3, 4, 9]
    assert result.pen_up.tolist() == [False, False, True, False]


def test_segments_of_one_stroke_have_no_pen_up_between_them():
    straight = np.column_stack([np.arange(10.0), np.zeros(10)])
    result = simplify_segments(straight, [0, 4, 7], [1.0, 1.0, 1.0], pen_up=[False, False, True])
    assert result.indices[result.pen_up].tolist() == [7]


def test_a_segment_of_one_point_is_kept():
    assert simplify_segments(np.zeros((3, 2)), [0, 1, 2], [1, 1, 1]).indices.tolist() == [0, 1, 2]


def test_a_trace_without_points_has_no_keypoints():
    result = simplify_segments(np.zeros((0, 2)), [], [])
    assert [len(part) for part in result] == [0, 0, 0, 0]


@pytest.mark.parametrize("starts", [[1, 4], [0, 4, 4], [0, 10], [], [0, -3]])
def test_starts_that_do_not_part_the_trace_are_refused(starts):
    with pytest.raises(InputError, match="starts must begin with 0"):
        simplify_segments(np.zeros((10, 2)), starts, [1.0] * len(starts))


def test_a_weight_for_each_segment_is_required():
    with pytest.raises(InputError, match="2 starts, 1 weights"):
        simplify_segments(np.zeros((10, 2)), [0, 4], [1.0])


def test_tolerance_falls_with_weight_and_grows_with_the_image():
    assert tolerance_for(1.0) == 5.0
    assert tolerance_for(0.2) == 25.0
    assert tolerance_for(0.5, base_px=3.0) == 6.0
    assert tolerance_for(1.0, long_side_px=1280) == 10.0


@pytest.mark.parametrize("weight", [0.0, -0.2, 1.1, float("nan")])
def test_a_weight_outside_its_range_is_refused(weight):
    with pytest.raises(ConfigError, match="weight is"):
        tolerance_for(weight)
