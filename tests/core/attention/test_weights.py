import math

import pytest

from tracevlm_ros.core.attention.weights import SegmentPace, live_weight
from tracevlm_ros.core.attention.words import word_importance, word_weight

MS = 1_000_000


def test_live_weight_is_the_formula_of_the_method():
    dwell_s, speed, scale_s, v0 = 0.4, 3.0, 0.25, 2.0
    expected = 0.2 + 0.8 * (0.6 * (1 - math.exp(-0.4 / 0.25)) + 0.4 / (1 + (3.0 / 2.0) ** 2))
    assert live_weight(dwell_s, speed, scale_s, v0) == pytest.approx(expected)


def test_live_weight_spans_its_range():
    assert live_weight(0.0, 1e9, 0.25, 1.0) == pytest.approx(0.2)
    assert live_weight(1e9, 0.0, 0.25, 1.0) == pytest.approx(1.0)


def test_pace_measures_dwell_and_the_speed_of_a_steady_movement():
    pace = SegmentPace()
    for step in range(100):
        pace.add(step * 10 * MS, step * 0.1, 0.0)  # 10 units per second
    assert pace.dwell_s == pytest.approx(0.99)
    assert pace.speed == pytest.approx(10.0, rel=0.02)


def test_pace_takes_alternating_noise_for_rest():
    pace = SegmentPace()
    for step in range(120):
        pace.add(step * 5 * MS, 0.1 * (-1) ** step, 0.0)
    assert pace.speed < 0.1  # sample by sample it would be 40


def test_pace_of_one_sample_is_zero():
    pace = SegmentPace()
    pace.add(5, 1.0, 1.0)
    assert (pace.dwell_s, pace.speed) == (0.0, 0.0)


def test_pace_does_not_take_the_camera_for_the_gaze():
    pace = SegmentPace()
    shift = 0.0
    for step in range(100):
        if step % 5 == 0:
            shift += 1.0
            pace.move(lambda x, y: (x + 1.0, y))
        pace.add(step * 10 * MS, shift, 0.0)
    assert pace.speed == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("word", "importance"),
    [("the", 1), ("under", 2), ("slowly", 2), ("holding", 3), ("red", 4), ("giraffe", 5)],
)
def test_importance_follows_the_class_of_the_word(word, importance):
    assert word_importance(word) == importance
    assert word_weight(word) == importance / 5


def test_case_and_punctuation_do_not_matter_and_no_word_counts_least():
    assert word_importance("The,") == 1
    assert word_importance('"Dog!"') == 5
    assert word_importance("...") == 1
    assert word_importance("") == 1
