"""The farthest point of an interval in numpy: blocks are bounded before points are measured."""

from itertools import pairwise

import numpy as np

from tracevlm_ros.core.simplify.distance import (
    BOUND_MARGIN,
    BOUND_MARGIN_PX2,
    Boxes,
    Chord,
    Chords,
    chord_between,
    squared_distance,
    squared_distance_bounds,
    squared_distances,
    squared_distances_each,
)
from tracevlm_ros.core.types import FloatArray, IntArray

BLOCK = 64
DIRECT = 512
"""Up to here one pass over all points is cheaper than bounding blocks first."""

BY_HAND = 24
"""Up to here plain Python is cheaper than the fixed cost of some fifteen numpy calls."""


class BlockSearch:
    """Farthest points in a buffer ``points`` (P, 2) that fills up from its start.

    Blocks of points are bounded by boxes; a margin covers what rounding takes from the bound.
    """

    def __init__(self, points: FloatArray, is_line: bool) -> None:
        self._points = points
        self._x, self._y = points[:, 0], points[:, 1]
        self._is_line = is_line
        blocks = -(-len(points) // BLOCK)
        self._boxes = Boxes(*np.zeros((4, blocks)))
        self._indexed = 0
        self._low = (np.inf, np.inf)
        self._high = (-np.inf, -np.inf)
        self._margin = 0.0

    def index(self, count: int) -> None:
        """Bring the blocks up to the first ``count`` points."""
        if count <= self._indexed:
            return
        first = self._indexed // BLOCK
        edges = np.arange(0, count - first * BLOCK, BLOCK)
        here = slice(first, first + len(edges))
        part = self._points[first * BLOCK : count]
        low, high = np.minimum.reduceat(part, edges), np.maximum.reduceat(part, edges)
        centre = (low + high) / 2
        # Of the rounded centre, so that no point is outside: the sides need not be equal.
        half = np.maximum(high - centre, centre - low)
        for values, found in zip(self._boxes, (*centre.T, *half.T), strict=True):
            values[here] = found
        self._indexed = count
        self._grow_margin(low.min(axis=0).tolist(), high.max(axis=0).tolist())

    def _grow_margin(self, low: list[float], high: list[float]) -> None:
        (x0, y0), (x1, y1) = self._low, self._high
        self._low = (x0, y0) = (min(x0, low[0]), min(y0, low[1]))
        self._high = (x1, y1) = (max(x1, high[0]), max(y1, high[1]))
        width, height = x1 - x0, y1 - y0
        self._margin = BOUND_MARGIN * (width * width + height * height) + BOUND_MARGIN_PX2

    def farthest(self, start: int, end: int, guess: int = -1) -> tuple[int, float]:
        """As ``reference.farthest_interior``; ``guess``, an interior index or -1, saves time."""
        if end - start < 2:
            return -1, -1.0
        x, y = self._x, self._y
        chord = chord_between(float(x[start]), float(y[start]), float(x[end]), float(y[end]))
        if end - start <= BY_HAND:
            return self._scan(chord, start, end)
        if end - start <= DIRECT:
            distances = squared_distances(
                x[start + 1 : end], y[start + 1 : end], chord, self._is_line
            )
            place = int(distances.argmax())
            return start + 1 + place, float(distances[place])
        first, beyond = (start + 1) // BLOCK, (end - 1) // BLOCK + 1
        boxes = self._boxes.at(slice(first, beyond))
        bounds = squared_distance_bounds(boxes, chord, self._is_line)
        bounds += self._margin
        if guess < 0:
            best = (first + int(bounds.argmax())) * BLOCK
            near = slice(max(best, start + 1), min(best + BLOCK, end))
            least = float(squared_distances(x[near], y[near], chord, self._is_line).max())
        else:
            least = squared_distance(float(x[guess]), float(y[guess]), chord, self._is_line)
        blocks = first + np.flatnonzero(bounds >= least)
        indices = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
        indices = indices[(indices > start) & (indices < end)]
        distances = squared_distances(x[indices], y[indices], chord, self._is_line)
        place = int(distances.argmax())
        return int(indices[place]), float(distances[place])

    def farthest_of_chain(
        self, starts: IntArray, end: int, guesses: IntArray
    ) -> list[tuple[int, float]]:
        """``farthest`` of each interval from ``starts`` to ``end``, all in two passes over arrays.

        ``guesses`` are interior indices, one for each start; starts rise.
        """
        x, y, is_line = self._x, self._y, self._is_line
        chords, least = self._chain_chords(starts, end, guesses)
        first = (starts + 1) // BLOCK
        counts = (end - 1) // BLOCK + 1 - first
        level = np.repeat(np.arange(len(starts)), counts)
        blocks = np.arange(len(level)) + (first + counts - np.cumsum(counts))[level]
        bounds = squared_distance_bounds(self._boxes.at(blocks), chords.at(level), is_line)
        bounds += self._margin
        stay = np.flatnonzero(bounds >= least[level])
        level = level[stay]
        indices = blocks[stay, None] * BLOCK + np.arange(BLOCK)
        np.minimum(indices, end, out=indices)
        near = chords.at(level).at((slice(None), None))
        distances = squared_distances_each(x[indices], y[indices], near, is_line)
        distances[(indices <= starts[level, None]) | (indices >= end)] = -1.0
        rows = np.searchsorted(level, np.arange(len(starts) + 1)).tolist()
        found = []
        for row, next_row in pairwise(rows):
            place = int(distances[row:next_row].argmax())
            at = (row + place // BLOCK, place % BLOCK)
            found.append((int(indices[at]), float(distances[at])))
        return found

    def _chain_chords(
        self, starts: IntArray, end: int, guesses: IntArray
    ) -> tuple[Chords, FloatArray]:
        """The chords from ``starts`` to ``end``, and how far the guesses are off them, squared.

        By hand: a chain is short.
        """
        bx, by = self._points[end].tolist()
        chords = [chord_between(ax, ay, bx, by) for ax, ay in self._points[starts].tolist()]
        least = [
            squared_distance(x, y, chord, self._is_line)
            for (x, y), chord in zip(self._points[guesses].tolist(), chords, strict=True)
        ]
        return Chords(*np.array(chords).T), np.array(least)

    def _scan(self, chord: Chord, start: int, end: int) -> tuple[int, float]:
        split, greatest = -1, -1.0
        for index, (x, y) in enumerate(self._points[start + 1 : end].tolist(), start + 1):
            distance2 = squared_distance(x, y, chord, self._is_line)
            if distance2 > greatest:
                split, greatest = index, distance2
        return split, greatest
