"""Which object of the ground truth a trace was about."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import Keypoints
from tracevlm_ros.evaluation.ground_truth import Labels, Visit


class Interval(NamedTuple):
    """``[start_ns, end_ns]`` of a trace so far."""

    start_ns: int
    end_ns: int

    def overlap_ns(self, visit: Visit) -> int:
        return min(self.end_ns, visit.end_ns) - max(self.start_ns, visit.start_ns)


class TraceMatcher:
    """Traces are matched with the visit that they overlap longest in time; without visits, with
    the object under most of their keypoints when they are first seen, and for good."""

    def __init__(self, visits: Sequence[Visit]) -> None:
        self._visits = visits
        self._intervals: dict[int, Interval] = {}
        self._by_place: dict[int, int] = {}

    def see(self, trace_id: int, start_ns: int, end_ns: int) -> None:
        """Learn how far a trace reaches; the longest word wins."""
        known = self._intervals.get(trace_id)
        end_ns = end_ns if known is None else max(end_ns, known.end_ns)
        self._intervals[trace_id] = Interval(start_ns, end_ns)

    def start_ns(self, trace_id: int) -> int | None:
        interval = self._intervals.get(trace_id)
        return None if interval is None else interval.start_ns

    def visit_index(self, trace_id: int) -> int | None:
        """The visit of a trace; None when it overlaps none."""
        interval = self._intervals.get(trace_id)
        if interval is None or not self._visits:
            return None
        overlaps = [interval.overlap_ns(visit) for visit in self._visits]
        best = int(np.argmax(overlaps))
        return best if overlaps[best] >= 0 else None

    def overlap_ns(self, trace_id: int, visit_index: int) -> int:
        return self._intervals[trace_id].overlap_ns(self._visits[visit_index])

    def place(self, trace_id: int, keypoints: Keypoints, labels: Labels) -> None:
        """Where a trace lies when it is first seen; used only when there are no visits."""
        if self._visits or trace_id in self._by_place:
            return
        under = _labels_under(keypoints, labels)
        if len(under):
            self._by_place[trace_id] = int(np.bincount(under).argmax())

    def object_label(self, trace_id: int) -> int | None:
        """The object of a trace; None when it is about none (0, the background, included)."""
        if not self._visits:
            return self._by_place.get(trace_id) or None
        index = self.visit_index(trace_id)
        return None if index is None else self._visits[index].label


def _labels_under(keypoints: Keypoints, labels: Labels) -> Labels:
    seen = np.isfinite(keypoints.xy_px).all(axis=1) & ~keypoints.lost
    pixels = np.rint(keypoints.xy_px[seen]).astype(np.int64)
    height, width = labels.shape
    pixels = pixels[((pixels >= 0) & (pixels < (width, height))).all(axis=1)]
    return np.asarray(labels[pixels[:, 1], pixels[:, 0]])
