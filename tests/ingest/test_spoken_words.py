"""Words of a recogniser and their clock."""

from typing import Any

import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import Word
from tracevlm_ros.ingest.json_lines import Record
from tracevlm_ros.ingest.live_device import BadMessage
from tracevlm_ros.ingest.spoken_words import SpokenWords, WordsConfig

NS = 1_000_000_000
T0 = 1_700_000_000 * NS
"""When the recogniser's stream began, by the local clock."""


def line(arrival_s: float, **values: Any) -> Record:
    return Record(values, T0 + round(arrival_s * NS))


def test_unix_times_are_taken_as_they_are() -> None:
    words = SpokenWords(WordsConfig(clock="unix"))
    record = Record(
        {"word": " cup ", "start": 1_700_000_001.25, "end": 1_700_000_001.5}, T0 + 2 * NS
    )
    assert words.word_of(record) == Word("cup", T0 + NS + NS // 4, T0 + NS + NS // 2)
    assert words.clock_report() is None


def test_stream_times_are_mapped_by_the_time_that_the_recogniser_tells() -> None:
    words = SpokenWords()
    assert words.word_of(line(3.4, now=3.4)) is None
    word = words.word_of(line(9.0, text="cup", start=4.0, end=4.5))
    assert word == Word("cup", T0 + 4 * NS, T0 + 4 * NS + NS // 2)
    report = words.clock_report()
    assert report is not None and report.offset_ns == T0


def test_without_it_the_quickest_word_tells() -> None:
    words = SpokenWords(WordsConfig(recognition_ms=300.0))
    delays = [0.9, 0.3, 1.5, 0.5]
    mapped = [
        words.word_of(line(end + delay, word="w", start=end - 0.2, end=end))
        for end, delay in zip((1.0, 1.4, 1.8, 2.2), delays, strict=True)
    ]
    last = mapped[-1]
    assert last is not None
    assert abs(last.end_ns - (T0 + round(2.2 * NS))) < 0.2 * NS
    assert last.end_ns - last.start_ns == NS // 5


def test_told_time_replaces_guessed_time() -> None:
    words = SpokenWords(WordsConfig(recognition_ms=0.0))
    words.word_of(line(5.0, word="late", start=1.0, end=1.2))
    words.word_of(line(6.0, now=6.0))
    word = words.word_of(line(9.0, word="cup", start=6.5, end=7.0))
    assert word == Word("cup", T0 + 13 * NS // 2, T0 + 7 * NS)


@pytest.mark.parametrize(
    "values, reason",
    [
        ({}, "word_key_missing"),
        ({"word": "cup", "start": 1.0}, "word_key_missing"),
        ({"word": "", "start": 1.0, "end": 2.0}, "word_malformed"),
        ({"word": 7, "start": 1.0, "end": 2.0}, "word_malformed"),
        ({"word": "a" * 201, "start": 1.0, "end": 2.0}, "word_malformed"),
        ({"word": "cup", "start": 2.0, "end": 1.0}, "word_ends_before_start"),
        ({"word": "cup", "start": "1", "end": 2.0}, "word_stamp_invalid"),
        ({"word": "cup", "start": float("nan"), "end": 2.0}, "word_stamp_invalid"),
        ({"now": None}, "word_stamp_invalid"),
    ],
)
def test_what_is_no_word_is_refused_with_a_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        SpokenWords().word_of(Record(values, T0))
    assert caught.value.reason == reason


def test_stream_times_taken_for_unix_times_are_noticed() -> None:
    with pytest.raises(BadMessage) as caught:
        SpokenWords(WordsConfig(clock="unix")).word_of(line(2.0, word="cup", start=1.0, end=1.5))
    assert caught.value.reason == "word_stamp_implausible"


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ConfigError, match="unix, stream"):
        WordsConfig(clock="moon")
