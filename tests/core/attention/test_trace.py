from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracevlm_ros.core.attention.events import TraceGrown
from tracevlm_ros.core.attention.trace import MAX_WORDS, Trace, TraceGeometry
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.simplify import simplify_reference
from tracevlm_ros.core.types import GazeSample, PenState, Word

S = 1_000_000_000
SIZE_HW = (480, 640)


def fresh(size_hw: tuple[int, int] = SIZE_HW, **geometry: object) -> tuple[Trace, Drops]:
    drops = Drops()
    return Trace(1, TraceGeometry(**geometry), size_hw, drops), drops  # type: ignore[arg-type]


def pen_point(
    second: float, x: float, y: float, pen_up: bool = False, weight: float = 1.0, segment: int = 0
) -> TraceGrown:
    sample = GazeSample(round(second * S), x, y, 1.0, PenState.DOWN)
    return TraceGrown(1, sample, pen_up, weight, segment)


def draw(trace: Trace, points: list[tuple[float, float]], start_s: float = 1.0) -> None:
    for index, (x, y) in enumerate(points):
        trace.grow(pen_point(start_s + index, x, y))


ZIGZAG = [(10.0 * i, 30.0 * (i % 2)) for i in range(10)]


def test_an_empty_trace_has_no_keypoints():
    trace, _ = fresh()
    assert len(trace) == 0
    assert len(trace.keypoint_indices()) == 0
    assert trace.keypoints().xy_px.shape == (0, 2)
    assert (trace.start_ns, trace.end_ns) == (0, 0)


def test_one_point_is_its_own_keypoint():
    trace, _ = fresh()
    draw(trace, [(3.0, 4.0)])
    keypoints = trace.keypoints()
    assert keypoints.xy_px.tolist() == [[3.0, 4.0]]
    assert keypoints.stamp_ns.tolist() == [S]


def test_a_straight_stroke_is_its_two_ends():
    trace, _ = fresh()
    draw(trace, [(float(i), 0.0) for i in range(50)])
    assert trace.keypoint_indices().tolist() == [0, 49]


@pytest.mark.parametrize(("long_side", "scale"), [(640, 1.0), (1280, 2.0), (320, 0.5)])
def test_tolerance_is_eps_by_weight_times_long_side_by_640(long_side, scale):
    weight = 0.5
    just_within, just_beyond = 10.0 * scale - 0.01, 10.0 * scale + 0.01
    for height, count in ((just_within, 2), (just_beyond, 3)):
        trace, _ = fresh((long_side // 2, long_side))
        for index, (x, y) in enumerate([(0, 0), (50, height), (100, 0)]):
            trace.grow(pen_point(1 + index, x, y, weight=weight))
        assert len(trace.keypoint_indices()) == count


def test_native_pixels_are_used_when_asked_for():
    trace, _ = fresh((720, 1280), scale_with_image=False)
    draw(trace, [(0.0, 0.0), (50.0, 6.0), (100.0, 0.0)])
    assert len(trace.keypoint_indices()) == 3


def test_simplification_never_crosses_a_pen_up():
    trace, _ = fresh()
    for index in range(20):
        trace.grow(pen_point(1 + index, float(index), 0.0, pen_up=index == 10, segment=index // 10))
    keypoints = trace.keypoints()
    assert trace.keypoint_indices().tolist() == [0, 9, 10, 19]
    assert keypoints.pen_up.tolist() == [False, False, True, False]
    assert trace.segment_starts.tolist() == [0, 10]


def test_the_newest_weight_holds_for_its_whole_segment_and_older_segments_keep_theirs():
    trace, _ = fresh()
    for index, weight in enumerate((0.2, 0.3, 0.4)):
        trace.grow(pen_point(1 + index, 10.0 * index, 0.0, weight=weight, segment=0))
    for index, weight in enumerate((0.5, 0.9)):
        trace.grow(pen_point(4 + index, 30 + 10.0 * index, 0.0, weight=weight, segment=1))
    assert trace.weights.tolist() == [0.4, 0.4, 0.4, 0.9, 0.9]


def test_a_full_segment_is_closed_counted_and_followed_by_another():
    trace, drops = fresh(max_segment_points=10)
    draw(trace, [(float(i), 0.0) for i in range(25)])
    assert trace.segment_starts.tolist() == [0, 10, 20]
    assert drops == {"trace_segment_full": 2}
    assert trace.keypoint_indices().tolist() == [0, 9, 10, 19, 20, 24]


def test_gaze_is_smoothed_for_geometry_and_kept_raw():
    trace, _ = fresh()
    rng = np.random.default_rng(0)
    raw = rng.normal((320, 240), 6.0, (100, 2))
    for index, (x, y) in enumerate(raw):
        sample = GazeSample(S + index * S // 120, float(x), float(y))
        trace.grow(TraceGrown(1, sample, False, 1.0, 0))
    assert np.array_equal(trace.xy_px, raw)
    plain, _ = fresh(smooth_gaze=False)
    for index, (x, y) in enumerate(raw):
        sample = GazeSample(S + index * S // 120, float(x), float(y))
        plain.grow(TraceGrown(1, sample, False, 1.0, 0))
    assert len(trace.keypoint_indices()) < len(plain.keypoint_indices())
    assert np.array_equal(plain.keypoints().xy_px, raw[plain.keypoint_indices()])


def test_pen_strokes_are_never_smoothed():
    trace, _ = fresh()
    draw(trace, ZIGZAG)
    assert trace.keypoints().xy_px.tolist() == [list(point) for point in ZIGZAG]
    assert trace.newest_xy_px == ZIGZAG[-1]


def test_words_segment_the_trace_from_the_first_word_on():
    trace, _ = fresh()
    draw(trace, ZIGZAG)  # at seconds 1..10
    trace.push_word(Word("the", 4 * S, 5 * S))
    trace.push_word(Word("dog", 7 * S, 8 * S))
    assert trace.segment_starts.tolist() == [0, 3, 6]
    assert trace.weights.tolist() == [1.0] * 3 + [0.2] * 3 + [1.0] * 4


def test_points_in_a_gap_between_words_join_the_previous_word():
    trace, _ = fresh()
    draw(trace, ZIGZAG)
    trace.push_word(Word("red", 2 * S, 3 * S))
    trace.push_word(Word("of", 9 * S, 10 * S))
    assert trace.weights.tolist() == [1.0] + [0.8] * 7 + [0.2] * 2


def test_points_after_a_word_join_it_as_they_come():
    trace, _ = fresh()
    draw(trace, ZIGZAG[:5])
    trace.push_word(Word("of", 3 * S, 4 * S))
    draw(trace, ZIGZAG[5:], start_s=6.0)
    assert trace.segment_starts.tolist() == [0, 2]
    assert trace.weights.tolist() == [1.0] * 2 + [0.2] * 8


def test_a_pen_up_splits_a_word():
    trace, _ = fresh()
    for index in range(6):
        trace.grow(pen_point(1 + index, float(index), 0.0, pen_up=index == 3, segment=index // 3))
    trace.push_word(Word("dog", 1 * S, 2 * S))
    assert trace.segment_starts.tolist() == [0, 3]


def test_a_word_after_the_trace_closed_still_counts():
    trace, _ = fresh()
    draw(trace, ZIGZAG)
    trace.close()
    before = trace.keypoint_indices()
    trace.push_word(Word("of", 1 * S, 2 * S))
    assert set(trace.weights) == {0.2}
    assert len(trace.keypoint_indices()) < len(before)
    assert not trace.is_open


def test_a_corrected_word_replaces_the_one_with_its_start():
    trace, _ = fresh()
    draw(trace, ZIGZAG)
    trace.push_word(Word("of", 1 * S, 2 * S))
    trace.push_word(Word("oven", 1 * S, 2 * S))
    assert set(trace.weights) == {1.0}


def test_words_are_bounded_and_the_oldest_is_counted():
    trace, drops = fresh()
    draw(trace, [(0.0, 0.0), (1.0, 1.0)])
    for index in range(MAX_WORDS + 3):
        trace.push_word(Word("dog", S + index, S + index + 1))
    assert drops == {"trace_words_full": 3}


def test_words_give_the_same_segments_in_whatever_order_they_come():
    words = [Word("a", 2 * S, 3 * S), Word("red", 4 * S, 5 * S), Word("dog", 7 * S, 8 * S)]
    results = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        trace, _ = fresh()
        draw(trace, ZIGZAG[:6])
        for index in order:
            trace.push_word(words[index])
        draw(trace, ZIGZAG[6:], start_s=7.0)
        results.append((trace.segment_starts.tolist(), trace.weights.tolist()))
    assert results[0] == results[1] == results[2]


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="eps_base_px"):
        TraceGeometry(eps_base_px=0)
    with pytest.raises(ConfigError, match="metric"):
        TraceGeometry(metric="manhattan")


coordinates = st.integers(0, 200).map(float)
steps = st.lists(
    st.tuples(
        coordinates, coordinates, st.booleans(), st.booleans(), st.sampled_from([0.2, 0.6, 1.0])
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=steps,
    metric=st.sampled_from(["segment", "line"]),
    word_seconds=st.sets(st.integers(1, 60), max_size=4),
)
def test_keypoints_equal_the_textbook_on_every_segment_at_every_instant(
    steps, metric, word_seconds
):
    trace, _ = fresh(metric=metric)
    segment = 0
    for index, (x, y, pen_up, begins, weight) in enumerate(steps):
        lifted = pen_up and index > 0
        segment += (begins or lifted) and index > 0
        trace.grow(pen_point(1 + index, x, y, lifted, weight, segment))
        if index + 1 in word_seconds:
            trace.push_word(Word("with", max(1, index - 2) * S, (index + 1) * S))
        if index % 7 == 0 or index == len(steps) - 1:
            assert_textbook(trace, metric)


def assert_textbook(trace: Trace, metric: str) -> None:
    bounds = [*trace.segment_starts.tolist(), len(trace)]
    expected: list[int] = []
    for start, end in pairwise(bounds):
        eps_px = 5.0 / trace.weights[start]
        found = simplify_reference(trace.xy_px[start:end], eps_px, metric)
        expected += [start + int(index) for index in found]
    assert trace.keypoint_indices().tolist() == expected
    assert set(np.flatnonzero(trace.pen_up)) <= set(bounds)
