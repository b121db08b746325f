"""What an open segment remembers between queries, in two equal forms: compiled and numpy.

Points never change, so the split of a closed interval is a pure function of its two ends and is
asked once. Only the chain, the intervals that end at the newest point, is asked at every query;
down to where its splits are those of the last query, the last result stands.
"""

from array import array
from types import ModuleType
from typing import Protocol

import numpy as np

from tracevlm_ros.core.simplify.block_search import BY_HAND, BlockSearch
from tracevlm_ros.core.simplify.tree_arrays import new_tree
from tracevlm_ros.core.types import FloatArray, IntArray

MEMO_PER_POINT = 6
"""A memo with more entries per point than this (a tree has at most two) is mostly the past."""


class GrowingTree(Protocol):
    """The memory of one open segment."""

    def keypoints(self, count: int, tolerance2: float) -> IntArray:
        """Indices of the keypoints of the first ``count`` >= 2 points, as a new array."""

    def move_to(self, points: FloatArray) -> None:
        """The same points are now in the larger buffer ``points``."""


class CompiledTree:
    """The memory in compiled kernels' arrays; see ``kernels.SplitTree``."""

    def __init__(self, kernels: ModuleType, points: FloatArray, is_line: bool) -> None:
        self._kernels = kernels
        self._is_line = is_line
        self._points = points
        self._tree = new_tree(points)
        self._tolerance2 = -1.0

    def keypoints(self, count: int, tolerance2: float) -> IntArray:
        same = tolerance2 == self._tolerance2
        kept = self._kernels.query(*self._tree, count, tolerance2, self._is_line, same)
        if kept == 0:
            self.move_to(self._points)
            kept = self._kernels.query(*self._tree, count, tolerance2, self._is_line, same)
        self._tolerance2 = tolerance2
        keypoints: IntArray = self._tree.out[:kept].copy()
        return keypoints

    def move_to(self, points: FloatArray) -> None:
        grown = new_tree(points)
        self._kernels.adopt(grown, self._tree)
        self._tree = grown
        self._points = points


class NumpyTree:
    """The memory in dictionaries: splits by interval, keypoints by interval at one tolerance.

    The keypoints of an interval are those from its start on, without its end.
    """

    def __init__(self, points: FloatArray, is_line: bool) -> None:
        self._is_line = is_line
        self._search = BlockSearch(points, is_line)
        self._splits: dict[tuple[int, int], tuple[int, float]] = {}
        self._kept: dict[tuple[int, int], array[int]] = {}
        self._chain: list[tuple[int, int, int]] = []
        self._out = array("q")
        self._tolerance2 = -1.0

    def keypoints(self, count: int, tolerance2: float) -> IntArray:
        self._search.index(count)
        same = tolerance2 == self._tolerance2
        if not same or len(self._kept) > MEMO_PER_POINT * count:
            self._kept = {}
        if len(self._splits) > MEMO_PER_POINT * count:
            self._splits = {}
        self._tolerance2 = tolerance2
        out, old = self._out, self._chain
        chain: list[tuple[int, int, int]] = []
        start, kept, newest = 0, 0, count - 1
        foreseen = self._foreseen(newest)
        while True:
            known = foreseen.get(start)
            split, distance2 = known or self._search.farthest(start, newest)
            if distance2 <= tolerance2:
                break
            level = len(chain)
            same = same and level < len(old) and old[level][:2] == (start, split)
            if same:
                kept = old[level][2]
            else:
                part = self._keypoints_from(start, split)
                out[kept:] = part
                kept += len(part)
            chain.append((start, split, kept))
            start = split
        self._chain = chain
        out[kept:] = array("q", (start, newest))
        return np.array(out)

    def move_to(self, points: FloatArray) -> None:
        self._search = BlockSearch(points, self._is_line)

    def _foreseen(self, newest: int) -> dict[int, tuple[int, float]]:
        """Splits of the last chain's long intervals, by start, now that they end at ``newest``."""
        long = [link for link in self._chain if newest - link[0] > BY_HAND]
        if not long:
            return {}
        starts, splits, _ = zip(*long, strict=True)
        found = self._search.farthest_of_chain(starts, newest, splits)
        return dict(zip(starts, found, strict=True))

    def _keypoints_from(self, start: int, end: int) -> "array[int]":
        """The keypoints of a closed interval, from left to right; what is known is not asked."""
        kept, splits, tolerance2 = self._kept, self._splits, self._tolerance2
        found = array("q")
        waiting = [(start, end, -1)]
        while waiting:
            first, last, began = waiting.pop()
            interval = (first, last)
            if began >= 0:
                kept[interval] = found[began:]
                continue
            known = kept.get(interval)
            if known is not None:
                found += known
                continue
            if last - first < 2:
                found.append(first)
                continue
            answer = splits.get(interval)
            if answer is None:
                answer = splits[interval] = self._search.farthest(first, last)
            split, distance2 = answer
            if distance2 <= tolerance2:
                found.append(first)
                continue
            waiting += ((first, last, len(found)), (split, last, -1), (first, split, -1))
        return found
