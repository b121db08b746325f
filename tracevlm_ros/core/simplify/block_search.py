"""The farthest point of an interval without numba.

Short intervals are gone through by hand. In longer ones all distances are found nearly, and those
within the margin of the greatest exactly; for several long ones blocks of points are bounded first.
"""

from collections.abc import Sequence

import numpy as np

from tracevlm_ros.core.simplify.chord_frames import ChordFrames, frames_of, nearly_squared
from tracevlm_ros.core.simplify.distance import (
    Chord,
    chord_between,
    squared_distance,
    squared_distances,
)
from tracevlm_ros.core.simplify.point_blocks import BLOCK, PointBlocks
from tracevlm_ros.core.simplify.short_scan import farthest_by_hand
from tracevlm_ros.core.types import FloatArray, IntArray

BY_HAND = 48
"""Up to here plain Python is cheaper than the fixed cost of some ten numpy calls."""

FEW = 8
"""So many points of an interval at most are compared one by one."""


class BlockSearch:
    """Farthest points in a buffer ``points`` (P, 2) that fills up from its start."""

    def __init__(self, points: FloatArray, is_line: bool) -> None:
        self._points = points
        self._is_line = is_line
        self._blocks = PointBlocks(points)

    def index(self, count: int) -> None:
        """Take in the first ``count`` points."""
        self._blocks.extend_to(count)

    def farthest(self, start: int, end: int) -> tuple[int, float]:
        """As ``reference.farthest_interior``."""
        blocks, is_line = self._blocks, self._is_line
        if end - start <= BY_HAND:
            return farthest_by_hand(blocks.x, blocks.y, start, end, is_line)
        chord = self._chord(start, end)
        if is_line:  # so few operations that nothing is gained by doing it nearly
            x, y = self._points[start + 1 : end].T
            distances = squared_distances(x, y, chord, is_line)
            place = int(distances.argmax())
            return start + 1 + place, float(distances[place])
        frames = frames_of([chord], blocks.x[0], blocks.y[0], is_line)
        near = nearly_squared(frames, blocks.rows[:, start + 1 : end])[0]
        limit = near[near.argmax()] - 2.0 * blocks.margin_px2
        return self._farthest_of((near >= limit).nonzero()[0] + (start + 1), chord)

    def farthest_of_chain(
        self, starts: Sequence[int], end: int, guesses: Sequence[int]
    ) -> list[tuple[int, float]]:
        """``farthest`` of each interval from ``starts`` to ``end``, all in two passes over arrays.

        ``guesses`` are interior indices, one for each start; starts rise.
        """
        blocks = self._blocks
        x, y = blocks.x, blocks.y
        chords = [self._chord(start, end) for start in starts]
        frames = frames_of(chords, x[0], y[0], self._is_line)
        least = [
            squared_distance(x[guess], y[guess], chord, self._is_line)
            for guess, chord in zip(guesses, chords, strict=True)
        ]
        levels, places = self._blocks_to_measure(starts, end, frames, np.array(least))
        near = nearly_squared(frames.at(levels), blocks.of_block[places])
        rows = np.searchsorted(levels, np.arange(len(starts)))
        for row, place, start in zip(rows.tolist(), places[rows].tolist(), starts, strict=True):
            if place * BLOCK <= start:
                near[row, : start + 1 - place * BLOCK] = -1.0
        for row in (places == end // BLOCK).nonzero()[0].tolist():
            near[row, end % BLOCK :] = -1.0
        limits = np.maximum.reduceat(near.max(axis=1), rows) - 2.0 * blocks.margin_px2
        row, column = np.divmod((near >= limits[levels, None]).ravel().nonzero()[0], BLOCK)
        return self._farthest_of_each(levels[row], places[row] * BLOCK + column, chords)

    def _blocks_to_measure(
        self, starts: Sequence[int], end: int, frames: ChordFrames, least: FloatArray
    ) -> tuple[IntArray, IntArray]:
        """Levels and blocks that may hold a point at ``least`` or farther; both rise."""
        blocks = self._blocks
        first = (np.array(starts) + 1) // BLOCK
        lowest, beyond = int(first[0]), (end - 1) // BLOCK + 1
        here = slice(lowest, beyond)
        bounds = nearly_squared(frames, blocks.centres[:, here], blocks.halves[:, here])
        may_hold = bounds >= (least - blocks.margin_px2)[:, None]
        may_hold &= np.arange(lowest, beyond) >= first[:, None]
        levels, places = np.divmod(may_hold.ravel().nonzero()[0], beyond - lowest)
        return levels, places + lowest

    def _chord(self, start: int, end: int) -> Chord:
        x, y = self._blocks.x, self._blocks.y
        return chord_between(x[start], y[start], x[end], y[end])

    def _farthest_of_each(
        self, levels: IntArray, indices: IntArray, chords: list[Chord]
    ) -> list[tuple[int, float]]:
        """``_farthest_of`` the ``indices`` of each level, one or more; ``levels`` rise."""
        if len(indices) > FEW * len(chords):
            parts = np.split(indices, np.searchsorted(levels, np.arange(1, len(chords))))
            return [self._farthest_of(*each) for each in zip(parts, chords, strict=True)]
        x, y = self._blocks.x, self._blocks.y
        found = [(-1, -1.0)] * len(chords)
        for level, index in zip(levels.tolist(), indices.tolist(), strict=True):
            distance2 = squared_distance(x[index], y[index], chords[level], self._is_line)
            if distance2 > found[level][1]:
                found[level] = (index, distance2)
        return found

    def _farthest_of(self, indices: IntArray, chord: Chord) -> tuple[int, float]:
        """The farthest of some indices, which rise; the earliest of equals."""
        if len(indices) > FEW:
            x, y = self._points[indices].T
            distances = squared_distances(x, y, chord, self._is_line)
            place = int(distances.argmax())
            return int(indices[place]), float(distances[place])
        return self._farthest_of_each(np.zeros_like(indices), indices, [chord])[0]
