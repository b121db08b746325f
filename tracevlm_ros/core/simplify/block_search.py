"""The farthest point of an interval in numpy: blocks are bounded before points are measured."""

from itertools import pairwise

import numpy as np

from tracevlm_ros.core.simplify.distance import (
    BOUND_MARGIN,
    BOUND_MARGIN_PX2,
    Chord,
    chord_between,
    chords_to,
    squared_distance,
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

    Distance to a segment, a line or a point is convex, so over a box it is greatest at a corner;
    a margin covers what rounding takes from that (see ``distance``).
    """

    def __init__(self, points: FloatArray, is_line: bool) -> None:
        self._points = points
        self._x, self._y = points[:, 0], points[:, 1]
        self._is_line = is_line
        blocks = -(-len(points) // BLOCK)
        self._corners_x = np.zeros((4, blocks))
        self._corners_y = np.zeros((4, blocks))
        self._indexed = 0
        self._extent2 = 0.0

    def index(self, count: int) -> None:
        """Bring the blocks up to the first ``count`` points."""
        if count <= self._indexed:
            return
        first = self._indexed // BLOCK
        edges = np.arange(0, count - first * BLOCK, BLOCK)
        here = slice(first, first + len(edges))
        for values, corners, highs in (
            (self._x, self._corners_x, (1, 3)),
            (self._y, self._corners_y, (2, 3)),
        ):
            part = values[first * BLOCK : count]
            corners[:, here] = np.minimum.reduceat(part, edges)
            corners[highs, here] = np.maximum.reduceat(part, edges)
        self._indexed = count
        width = self._corners_x[3, : here.stop].max() - self._corners_x[0, : here.stop].min()
        height = self._corners_y[3, : here.stop].max() - self._corners_y[0, : here.stop].min()
        self._extent2 = float(width * width + height * height)

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
        bounds = squared_distances(
            self._corners_x[:, first:beyond],
            self._corners_y[:, first:beyond],
            chord,
            self._is_line,
        ).max(axis=0)
        bounds += BOUND_MARGIN * self._extent2 + BOUND_MARGIN_PX2
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
        chords = chords_to(x[starts], y[starts], x[end], y[end])
        least = squared_distances_each(x[guesses], y[guesses], chords, is_line)
        first, beyond = (starts + 1) // BLOCK, (end - 1) // BLOCK + 1
        level = np.repeat(np.arange(len(starts)), beyond - first)
        blocks = np.concatenate([np.arange(block, beyond) for block in first.tolist()])
        bounds = squared_distances_each(
            self._corners_x[:, blocks], self._corners_y[:, blocks], chords.at(level), is_line
        ).max(axis=0)
        bounds += BOUND_MARGIN * self._extent2 + BOUND_MARGIN_PX2
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

    def _scan(self, chord: Chord, start: int, end: int) -> tuple[int, float]:
        split, greatest = -1, -1.0
        for index, (x, y) in enumerate(self._points[start + 1 : end].tolist(), start + 1):
            distance2 = squared_distance(x, y, chord, self._is_line)
            if distance2 > greatest:
                split, greatest = index, distance2
        return split, greatest
