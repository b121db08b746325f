import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Word
from training.data.phrases import phrases_of, said_and_drawn
from training.data.readers.alignment import Reading, SimplifyConfig, keypoints_of, raw_trace
from training.data.readers.records import Narrative


def narrative(text: str, drawn: range) -> Narrative:
    """Word ``i`` is said from 10 i to 10 i + 10; one point in the middle of each of ``drawn``."""
    words = tuple(Word(word, 10 * i, 10 * i + 10) for i, word in enumerate(text.split()))
    strokes = [[Reading(10 * i + 5, 0.1 * i, 0.1 * (i % 2), 0)] for i in drawn]
    return Narrative("key", text, words, raw_trace(strokes, Drops()))


def drawn_phrases(item: Narrative) -> list[tuple[str, int]]:
    kept = keypoints_of(item, (640, 640), SimplifyConfig())
    return [(part.text, len(part.points)) for _, part in said_and_drawn(item, kept, 99)]


def test_a_phrase_ends_with_a_word_that_names_a_thing() -> None:
    phrases = phrases_of(narrative("a red dog is on the grass. it is", range(2)))
    assert [phrase.text for phrase in phrases] == ["a red dog", "is on the grass. it is"]
    assert [phrase.head for phrase in phrases] == ["dog", "grass"]


def test_words_that_name_nothing_are_one_phrase() -> None:
    (phrase,) = phrases_of(narrative("it is on the left", range(2)))
    assert (phrase.text, phrase.head) == ("it is on the left", "")
    assert phrases_of(narrative("", range(2))) == ()


def test_each_phrase_takes_the_points_of_its_words() -> None:
    item = narrative("a red dog on the grass", range(6))
    assert drawn_phrases(item) == [("a red dog", 3), ("on the grass", 3)]


def test_a_phrase_without_points_joins_the_next_or_the_last_one() -> None:
    text = "a red dog on the grass near a wall"
    assert drawn_phrases(narrative(text, range(3, 6))) == [
        ("a red dog on the grass near a wall", 3)
    ]
    assert drawn_phrases(narrative(text, range(6, 9))) == [(text, 3)]


def test_all_words_are_said_once_whatever_was_drawn() -> None:
    rng = np.random.default_rng(0)
    text = "a red dog on the grass near a wall with two trees"
    for _ in range(30):
        start = int(rng.integers(0, 11))
        item = narrative(text, range(start, int(rng.integers(start + 1, 13))))
        assert " ".join(said for said, _ in drawn_phrases(item)) == text
