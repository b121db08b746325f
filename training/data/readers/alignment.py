"""Words to points, and points to keypoints (METHOD: simplification and tokens; paper section 3.2).

A word reaches from its start to the next word's start, half-open, so points in a gap join the word
before. Points before the first word join the first, those after the last word the last. Words that
start together leave no time for all but the last of them. Nothing is simplified across a lifted
pen, a change of picture, or, where words count, a change of word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.attention.words import word_importance
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.core.simplify import simplify_segments
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray, Word
from training.data.readers.records import Narrative, RawTrace

WORDLESS = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class SimplifyConfig:
    """``weights="words"`` is the paper's: segments and weights come from the words of the caption
    (at test time that leaks the reference into the input). ``"uniform"`` knows no words: a segment
    is a stroke, each of weight ``uniform_weight``. ``base_px`` is the tolerance of weight 1 where
    the long side has 640 pixels."""

    weights: str = "uniform"
    uniform_weight: float = 0.6
    base_px: float = 5.0

    def __post_init__(self) -> None:
        require_choice("weights", self.weights, ("uniform", "words"))
        require_range("uniform_weight", self.uniform_weight, 0.2, 1.0)
        require_range("base_px", self.base_px, 0.1, 1000.0)


class Segment(NamedTuple):
    """Points ``[start, end)`` of a trace, drawn while ``word`` was said (``WORDLESS``: unknown);
    ``pen_up``: a new stroke or picture begins here."""

    start: int
    end: int
    word: int
    weight: float
    pen_up: bool


class NarrativeKeypoints(NamedTuple):
    """K keypoints of a whole narrative: ``xy`` (K, 2) shares, ``stamp_ns``, ``picture``, ``word``
    (``WORDLESS``: unknown), ``weight`` and ``pen_up`` (K,)."""

    xy: FloatArray
    stamp_ns: IntArray
    picture: IntArray
    word: IntArray
    weight: FloatArray
    pen_up: BoolArray


class Reading(NamedTuple):
    """One reading of a pointer: time, place in shares, index of the picture."""

    stamp_ns: int
    x: float
    y: float
    picture: int


def raw_trace(strokes: Iterable[Sequence[Reading]], drops: Drops) -> RawTrace:
    """Strokes as one trace. Readings without a finite place, and those that lie before an earlier
    one in time, are left out and counted; a change of picture counts as a lifted pen."""
    rows = [(*reading, number) for number, stroke in enumerate(strokes) for reading in stroke]
    table = np.array([row[1:] for row in rows], np.float64).reshape(-1, 4)
    stamps = np.array([row[0] for row in rows], np.int64)
    finite = np.isfinite(table[:, :2]).all(axis=1)
    drops["point_without_place"] += int((~finite).sum())
    table, stamps = table[finite], stamps[finite]
    in_order = stamps >= np.maximum.accumulate(stamps)
    drops["point_out_of_order"] += int((~in_order).sum())
    table, stamps = table[in_order], stamps[in_order]
    picture, stroke = table[:, 2].astype(np.int64), table[:, 3]
    pen_up = np.zeros(len(stamps), np.bool_)
    pen_up[1:] = (np.diff(stroke) != 0) | (np.diff(picture) != 0)
    return RawTrace(table[:, :2].copy(), stamps, picture, pen_up)


def word_weight(utterance: str) -> float:
    """Importance of the most important word of an utterance, divided by 5: 0.2..1."""
    return max((word_importance(word) for word in utterance.split()), default=1) / 5


def owners(stamp_ns: IntArray, words: Sequence[Word]) -> IntArray:
    """(N,) index of the word that each point belongs to; ``WORDLESS`` when there are no words."""
    if not words:
        return np.full(len(stamp_ns), WORDLESS, np.int64)
    starts = np.array([word.start_ns for word in words], np.int64)
    order = np.argsort(starts, kind="stable")
    place = np.searchsorted(starts[order], stamp_ns, side="right") - 1
    return np.asarray(order[np.maximum(place, 0)], np.int64)


def segments_of(narrative: Narrative, config: SimplifyConfig) -> tuple[Segment, ...]:
    """Segments that together hold every point of the trace, in order."""
    trace = narrative.trace
    if not len(trace.xy):
        return ()
    owner = owners(trace.stamp_ns, narrative.words)
    by_words = config.weights == "words" and bool(narrative.words)
    cut = trace.pen_up.copy()
    cut[0] = True
    if by_words:
        cut[1:] |= np.diff(owner) != 0
    starts = np.flatnonzero(cut).tolist()
    ends = [*starts[1:], len(owner)]
    return tuple(
        Segment(
            start,
            end,
            int(owner[start]) if by_words else WORDLESS,
            word_weight(narrative.words[owner[start]].text) if by_words else config.uniform_weight,
            bool(trace.pen_up[start]),
        )
        for start, end in zip(starts, ends, strict=True)
    )


def words_without_points(narrative: Narrative) -> tuple[int, ...]:
    """Indices of the words in whose interval the pointer said nothing."""
    found = set(owners(narrative.trace.stamp_ns, narrative.words).tolist())
    return tuple(index for index in range(len(narrative.words)) if index not in found)


def keypoints_of(
    narrative: Narrative, size_hw: tuple[int, int], config: SimplifyConfig
) -> NarrativeKeypoints:
    """Simplify the trace over pictures of ``size_hw``; ``word`` is known in both modes."""
    trace = narrative.trace
    segments = segments_of(narrative, config)
    height, width = size_hw
    kept = simplify_segments(
        trace.xy * (width, height),
        [segment.start for segment in segments],
        [segment.weight for segment in segments],
        pen_up=[segment.pen_up for segment in segments],
        base_px=config.base_px,
        long_side_px=max(size_hw),
    )
    index = kept.indices
    return NarrativeKeypoints(
        trace.xy[index],
        trace.stamp_ns[index],
        trace.picture[index],
        owners(trace.stamp_ns[index], narrative.words),
        kept.weight,
        kept.pen_up,
    )
