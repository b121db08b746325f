"""What an open segment remembers between queries, in two equal forms: compiled and numpy.

Points never change, so the split of a closed interval is a pure function of its two ends and is
asked once. Only the chain, the intervals that end at the newest point, is asked at every query;
down to where its splits are those of the last query, the last result stands.
"""

from bisect import bisect_right
from operator import itemgetter
from types import ModuleType
from typing import Protocol

import numpy as np

from tracevlm_ros.core.simplify.block_search import BlockSearch
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
    """The memory in dictionaries: splits by interval, keypoints by interval at one tolerance."""

    def __init__(self, points: FloatArray, is_line: bool) -> None:
        self._is_line = is_line
        self._search = BlockSearch(points, is_line)
        self._splits: dict[tuple[int, int], tuple[int, float]] = {}
        self._inside: dict[tuple[int, int], list[int]] = {}
        self._chain: list[tuple[int, int, int]] = []
        self._out = np.zeros(len(points) + 1, dtype=np.int64)
        self._tolerance2 = -1.0

    def keypoints(self, count: int, tolerance2: float) -> IntArray:
        self._search.index(count)
        same = tolerance2 == self._tolerance2
        if not same or len(self._inside) > MEMO_PER_POINT * count:
            self._inside = {}
        if len(self._splits) > MEMO_PER_POINT * count:
            self._splits = {}
        self._tolerance2 = tolerance2
        out, old = self._out, self._chain
        chain: list[tuple[int, int, int]] = []
        start, kept, newest = 0, 1, count - 1
        foreseen = self._foreseen(newest)
        while True:
            level = len(chain)
            if start in foreseen:
                split, distance2 = foreseen[start]
            else:
                later = bisect_right(old, start, key=itemgetter(1))
                guess = old[later][1] if later < len(old) else -1
                split, distance2 = self._search.farthest(start, newest, guess)
            if distance2 <= tolerance2:
                break
            same = same and level < len(old) and old[level][:2] == (start, split)
            if same:
                kept = old[level][2]
            else:
                inside = self._keypoints_inside(start, split)
                out[kept : kept + len(inside)] = inside
                kept += len(inside) + 1
                out[kept - 1] = split
            chain.append((start, split, kept))
            start = split
        self._chain = chain
        out[0], out[kept] = 0, newest
        return out[: kept + 1].copy()

    def move_to(self, points: FloatArray) -> None:
        self._search = BlockSearch(points, self._is_line)
        self._out = np.concatenate(
            [self._out, np.zeros(len(points) + 1 - len(self._out), np.int64)]
        )

    def _foreseen(self, newest: int) -> dict[int, tuple[int, float]]:
        """Splits of the last chain's intervals, by start, now that they end at ``newest``."""
        if not self._chain:
            return {}
        chain = np.array(self._chain)
        found = self._search.farthest_of_chain(chain[:, 0], newest, chain[:, 1])
        return dict(zip(chain[:, 0].tolist(), found, strict=True))

    def _split_of(self, start: int, end: int) -> tuple[int, float]:
        known = self._splits.get((start, end))
        if known is None:
            known = self._splits[start, end] = self._search.farthest(start, end)
        return known

    def _keypoints_inside(self, start: int, end: int) -> list[int]:
        """Keypoints strictly inside a closed interval; halves are finished before the whole."""
        inside, tolerance2 = self._inside, self._tolerance2
        waiting = [(start, end)]
        while waiting:
            interval = waiting[-1]
            first, last = interval
            if interval in inside or last - first < 2:
                waiting.pop()
                continue
            split, distance2 = self._split_of(first, last)
            if distance2 <= tolerance2:
                inside[interval] = []
                waiting.pop()
                continue
            left, right = (first, split), (split, last)
            missing = [
                half for half in (left, right) if half[1] - half[0] > 1 and half not in inside
            ]
            if missing:
                waiting += missing
                continue
            inside[interval] = [*inside.get(left, ()), split, *inside.get(right, ())]
            waiting.pop()
        return inside.get((start, end), [])
