import numpy as np
import pytest

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.simplify import simplify_reference, tolerance_for
from tracevlm_ros.core.types import Word
from training.data.readers.alignment import (
    WORDLESS,
    Reading,
    SimplifyConfig,
    keypoints_of,
    owners,
    raw_trace,
    segments_of,
    word_weight,
    words_without_points,
)
from training.data.readers.records import Narrative


def narrative(stamps: list[int], words: list[tuple[str, int, int]], lift: int = 0) -> Narrative:
    readings = [Reading(t, 0.01 * t, 0.02 * (t % 7), 0) for t in stamps]
    strokes = [readings[:lift], readings[lift:]] if lift else [readings]
    trace = raw_trace(strokes, Drops())
    return Narrative("key", "text", tuple(Word(*word) for word in words), trace)


def plain_owner(stamp: int, words: tuple[Word, ...]) -> int:
    """The rule as it is written: the last word that has begun, the first before any has."""
    begun = [i for i, word in enumerate(words) if word.start_ns <= stamp]
    if not begun:
        return min(range(len(words)), key=lambda i: words[i].start_ns)
    latest = max(words[i].start_ns for i in begun)
    return max(i for i in begun if words[i].start_ns == latest)


def test_points_belong_to_the_word_begun_last_also_in_gaps_and_at_the_ends() -> None:
    item = narrative([0, 9, 10, 15, 19, 20, 90], [("a", 10, 15), ("dog", 20, 30)])
    assert owners(item.trace.stamp_ns, item.words).tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_words_of_no_length_and_out_of_order_own_what_the_rule_says() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        starts = rng.integers(0, 20, int(rng.integers(1, 6)))
        words = tuple(Word("w", int(s), int(s + rng.integers(0, 4))) for s in starts)
        stamps = np.sort(rng.integers(-3, 25, 12))
        expected = [plain_owner(int(stamp), words) for stamp in stamps]
        assert owners(stamps, words).tolist() == expected


def test_words_without_points_are_named_and_own_no_segment() -> None:
    item = narrative([1, 2, 30], [("a", 0, 5), ("red", 5, 5), ("dog", 5, 9), ("runs", 20, 25)])
    assert words_without_points(item) == (1, 2)
    found = segments_of(item, SimplifyConfig(weights="words"))
    assert [(s.start, s.end, s.word) for s in found] == [(0, 2, 0), (2, 3, 3)]


def test_segments_end_where_the_pen_lifts_and_cover_every_point() -> None:
    item = narrative(list(range(10)), [("a", 0, 4), ("dog", 4, 9)], lift=6)
    found = segments_of(item, SimplifyConfig(weights="words"))
    assert [(s.start, s.end, s.word, s.pen_up) for s in found] == [
        (0, 4, 0, False),
        (4, 6, 1, False),
        (6, 10, 1, True),
    ]
    uniform = segments_of(item, SimplifyConfig())
    assert [(s.start, s.end, s.word) for s in uniform] == [(0, 6, WORDLESS), (6, 10, WORDLESS)]


def test_a_change_of_picture_counts_as_a_lifted_pen() -> None:
    trace = raw_trace([[Reading(t, 0.1, 0.1, t // 2) for t in range(4)]], Drops())
    assert trace.pen_up.tolist() == [False, False, True, False]


def test_uniform_simplification_does_not_depend_on_the_words() -> None:
    stamps = list(range(60))
    one = narrative(stamps, [("a", 0, 4), ("dog", 4, 9)])
    two = narrative(stamps, [("entirely", 30, 31), ("different", 33, 50)])
    first, second = (keypoints_of(item, (480, 640), SimplifyConfig()) for item in (one, two))
    assert np.array_equal(first.xy, second.xy)
    assert set(first.weight.tolist()) == {0.6}


@pytest.mark.parametrize("weights", ["uniform", "words"])
def test_keypoints_equal_the_textbook_segment_by_segment(weights: str) -> None:
    rng = np.random.default_rng(2)
    readings = [
        Reading(t, *np.clip(rng.normal(0.5, 0.2, 2), -0.2, 1.2).tolist(), 0) for t in range(80)
    ]
    words = tuple(Word(text, start, start + 9) for text, start in (("the", 5), ("dog", 40)))
    item = Narrative("k", "t", words, raw_trace([readings[:30], readings[30:]], Drops()))
    config = SimplifyConfig(weights=weights)
    kept = keypoints_of(item, (300, 400), config)
    expected = []
    for segment in segments_of(item, config):
        points = item.trace.xy[segment.start : segment.end] * (400, 300)
        tolerance = tolerance_for(segment.weight, 5.0, 400)
        expected += (segment.start + np.array(simplify_reference(points, tolerance))).tolist()
    assert np.array_equal(kept.xy, item.trace.xy[expected])
    assert kept.pen_up.sum() == 1


def test_weights_follow_the_most_important_word_of_an_utterance() -> None:
    assert word_weight("the") == pytest.approx(0.2)
    assert word_weight("of the dog") == pytest.approx(1.0)
    assert word_weight("") == pytest.approx(0.2)
