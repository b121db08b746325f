"""One act of attention as data: its samples, its segments and their simplification."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from tracevlm_ros.core.attention.events import TraceGrown
from tracevlm_ros.core.attention.growing_array import GrowingArray
from tracevlm_ros.core.attention.one_euro import OneEuroConfig, OneEuroFilter
from tracevlm_ros.core.attention.words import word_weight
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_settings, setting
from tracevlm_ros.core.simplify import IncrementalSimplifier, tolerance_for
from tracevlm_ros.core.types import (
    BoolArray,
    FloatArray,
    GazeSample,
    IntArray,
    Keypoints,
    PenState,
    Word,
)

MAX_WORDS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceGeometry:
    """How a trace is simplified (METHOD.md, simplification and tokens)."""

    eps_base_px: float = setting(
        5.0,
        "Tolerance of a segment of weight 1; that of another is this divided by its weight.",
        0.01,
        1000.0,
    )
    metric: str = setting(
        "segment",
        "Distance to a chord: to the segment, or to the infinite line through it.",
        choices=("segment", "line"),
    )
    scale_with_image: bool = setting(
        True, "Multiply the tolerance by the image's long side / 640 pixels."
    )
    smooth_gaze: bool = setting(True, "Filter gaze, never pen strokes, before simplification.")
    max_segment_points: int = setting(
        10_000,
        "A segment with so many points is closed, counted as trace_segment_full.",
        2,
        10_000_000,
    )
    filter: OneEuroConfig = field(default_factory=OneEuroConfig)

    def __post_init__(self) -> None:
        require_settings(self, "geometry")


class _Segment:
    """A stretch ``[start, start + len(simplifier))`` of the trace under one weight."""

    __slots__ = ("_asked", "_keypoints", "simplifier", "start", "weight")

    def __init__(self, start: int, simplifier: IncrementalSimplifier) -> None:
        self.start = start
        self.simplifier = simplifier
        self.weight = 1.0
        self._asked = (0, 0.0)
        self._keypoints: IntArray = np.empty(0, np.int64)

    def keypoint_indices(self, base_px: float, long_side_px: float | None) -> IntArray:
        asked = (len(self.simplifier), tolerance_for(self.weight, base_px, long_side_px))
        if asked != self._asked:
            self._keypoints = self.simplifier.keypoints(asked[1]) + self.start
            self._asked = asked
        return self._keypoints


class Trace:
    """Samples of one act of attention, simplified while it grows.

    Segments are fixations or strokes; where words are known they are word intervals
    ``[start, next start)`` under the word's weight, and points before the first word keep their
    live weight. No segment reaches across a pen-up or a gap of lost gaze.
    """

    def __init__(
        self, trace_id: int, geometry: TraceGeometry, image_size_hw: tuple[int, int], drops: Drops
    ) -> None:
        self.trace_id = trace_id
        self.is_open = True
        self._geometry = geometry
        self._drops = drops
        long_side = float(max(image_size_hw))
        self._long_side_px = long_side if geometry.scale_with_image else None
        self._filter = OneEuroFilter(geometry.filter, long_side)
        self._stamps: GrowingArray[np.int64] = GrowingArray(np.int64)
        self._raw: GrowingArray[np.float64] = GrowingArray(np.float64, (2,))
        self._smooth: GrowingArray[np.float64] = GrowingArray(np.float64, (2,))
        self._pen_up: GrowingArray[np.bool_] = GrowingArray(np.bool_)
        self._labels: GrowingArray[np.int64] = GrowingArray(np.int64)
        self._live: GrowingArray[np.float64] = GrowingArray(np.float64)
        self._segments: list[_Segment] = []
        self._words: list[Word] = []
        self._word_starts: list[int] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def start_ns(self) -> int:
        """Stamp of the first sample; 0 while there is none."""
        return int(self._stamps.view[0]) if len(self) else 0

    @property
    def end_ns(self) -> int:
        """Stamp of the newest sample; 0 while there is none."""
        return int(self._stamps.view[-1]) if len(self) else 0

    @property
    def stamps_ns(self) -> IntArray:
        """(N,) int64, rising."""
        return self._stamps.view

    @property
    def xy_px(self) -> FloatArray:
        """(N, 2) raw points, pixels of the frame at their own stamp."""
        return self._raw.view

    @property
    def newest_xy_px(self) -> tuple[float, float]:
        """The newest point as it is simplified: raw or, for gaze, smoothed pixels."""
        x_px, y_px = self._smooth.view[-1]
        return float(x_px), float(y_px)

    @property
    def pen_up(self) -> BoolArray:
        """(N,) true where the pen was up or gaze was lost before the point."""
        return self._pen_up.view

    @property
    def weights(self) -> FloatArray:
        """(N,) the weight of each point's segment, as it stands now."""
        weights = np.empty(len(self), np.float64)
        for segment in self._segments:
            weights[segment.start :] = segment.weight
        return weights

    @property
    def segment_starts(self) -> IntArray:
        """(S,) index of the first point of each segment."""
        return np.array([segment.start for segment in self._segments], np.int64)

    def grow(self, event: TraceGrown) -> None:
        """Take the next sample; stamps must rise within a trace."""
        assert event.trace_id == self.trace_id, (event.trace_id, self.trace_id)
        begins = not len(self) or event.segment != self._labels.view[-1]
        self._remember(event, begins)
        self._place(len(self) - 1)

    def push_word(self, word: Word) -> None:
        """A word was spoken: the points from its start on are segmented by words anew.

        Words may come late and out of order. The oldest of more than ``MAX_WORDS`` are forgotten
        (``trace_words_full``).
        """
        place = bisect_left(self._word_starts, word.start_ns)
        if place < len(self._words) and self._word_starts[place] == word.start_ns:
            self._words[place] = word
        else:
            self._words.insert(place, word)
            self._word_starts.insert(place, word.start_ns)
        if len(self._words) > MAX_WORDS:
            del self._words[0], self._word_starts[0]
            self._drops["trace_words_full"] += 1
        self._segment_again(int(np.searchsorted(self._stamps.view, word.start_ns)))

    def close(self) -> None:
        """No sample will follow; all keypoints and weights are final unless words still come."""
        self.is_open = False

    def keypoint_indices(self) -> IntArray:
        """(K,) rising indices of the fewest points that keep each segment within its tolerance."""
        if not self._segments:
            return np.empty(0, np.int64)
        base_px, long_side_px = self._geometry.eps_base_px, self._long_side_px
        return np.concatenate(
            [segment.keypoint_indices(base_px, long_side_px) for segment in self._segments]
        )

    def keypoints(self) -> Keypoints:
        """The keypoints where they were looked at: raw or, for gaze, smoothed pixels."""
        indices = self.keypoint_indices()
        return Keypoints(
            xy_px=self._smooth.view[indices],
            stamp_ns=self.stamps_ns[indices],
            weight=self.weights[indices],
            pen_up=self.pen_up[indices],
            lost=np.zeros(len(indices), np.bool_),
        )

    def _remember(self, event: TraceGrown, begins: bool) -> None:
        sample = event.sample
        if begins:
            self._filter.restart()
        self._stamps.append(sample.stamp_ns)
        self._raw.append((sample.x_px, sample.y_px))
        self._smooth.append(self._smoothed(sample))
        self._pen_up.append(event.pen_up)
        self._labels.append(event.segment)
        self._live.append(event.weight)

    def _smoothed(self, sample: GazeSample) -> tuple[float, float]:
        if not self._geometry.smooth_gaze or sample.pen is not PenState.UNKNOWN:
            return sample.x_px, sample.y_px
        return self._filter.add(sample.stamp_ns, sample.x_px, sample.y_px)

    def _place(self, index: int) -> None:
        """Put point ``index`` into the newest segment, or a new one."""
        segment = self._segments[-1] if self._segments else None
        if segment is None or self._must_split(segment, index):
            segment = _Segment(index, self._new_simplifier())
            self._segments.append(segment)
        segment.weight = self._weight_of(index)
        segment.simplifier.append(*self._smooth.view[index])

    def _must_split(self, segment: _Segment, index: int) -> bool:
        if len(segment.simplifier) >= self._geometry.max_segment_points:
            self._drops["trace_segment_full"] += 1
            return True
        if self._pen_up.view[index]:
            return True
        word = self._word_index(index)
        if word != self._word_index(index - 1):
            return True
        return word < 0 and bool(self._labels.view[index] != self._labels.view[index - 1])

    def _word_index(self, index: int) -> int:
        """Which word's interval holds point ``index``; -1 before the first word."""
        return bisect_right(self._word_starts, self._stamps.view[index]) - 1

    def _weight_of(self, index: int) -> float:
        word = self._word_index(index)
        return float(self._live.view[index]) if word < 0 else word_weight(self._words[word].text)

    def _new_simplifier(self) -> IncrementalSimplifier:
        return IncrementalSimplifier(
            metric=self._geometry.metric, max_points=self._geometry.max_segment_points
        )

    def _segment_again(self, first: int) -> None:
        """Segment the points from ``first`` on anew, with the whole segment that holds it."""
        while self._segments and self._segments[-1].start >= first:
            self._segments.pop()
        start = self._segments.pop().start if self._segments else 0
        for index in range(start, len(self)):
            self._place(index)
