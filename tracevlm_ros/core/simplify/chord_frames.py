"""Distances of many points to many chords at once, nearly: by matrix products.

In a chord's own frame a point is so far *across* its line and so far *along* it from its middle.
The squared distance is the square of the one and, for a segment, of that by which the other
exceeds half the length. A matrix product may fuse and reorder, so these distances are not those
of ``distance`` to the last bit: they serve to tell which points are worth the exact formula.
"""

from collections.abc import Sequence
from math import inf, sqrt
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.simplify.distance import CLOSED_LENGTH2, Chord
from tracevlm_ros.core.types import FloatArray, IntArray


class ChordFrames(NamedTuple):
    """``axes`` (K, 2, 3) take (x, y, 1) to (across, along), or (K, 1, 3) to across where along
    does not matter; ``half`` (K, 1) is how far along a point may be and still be beside its
    chord."""

    axes: FloatArray
    half: FloatArray

    def at(self, levels: IntArray) -> "ChordFrames":
        """The frames at ``levels``."""
        return ChordFrames(self.axes[levels], self.half[levels])


def frames_of(chords: Sequence[Chord], x0: float, y0: float, is_line: bool) -> ChordFrames:
    """The frames of K >= 1 chords, for points whose zero is at (x0, y0)."""
    across_only = is_line
    rows = []
    for ax, ay, _, _, dx, dy, length2 in chords:
        x, y = ax - x0, ay - y0
        if length2 < CLOSED_LENGTH2:
            # Any axes do for the distance to a point; nothing is beside it.
            across_only = False
            rows.append((0.0, -1.0, y, 1.0, 0.0, -x, 0.0))
            continue
        length = sqrt(length2)
        ux, uy, half = dx / length, dy / length, length / 2
        middle = ux * x + uy * y + half
        rows.append((uy, -ux, ux * y - uy * x, ux, uy, -middle, inf if is_line else half))
    table = np.array(rows)
    axes = table[:, :6].reshape(-1, 2, 3)
    return ChordFrames(axes[:, :1] if across_only else axes, table[:, 6:])


def nearly_squared(
    frames: ChordFrames, points: FloatArray, half_boxes: FloatArray | None = None
) -> FloatArray:
    """(K, N): the squared distances of ``points`` (3, N), or (K, 3, N) where every chord has its
    own, given as rows (x, y, 1); or the greatest in boxes round them with half sides
    ``half_boxes`` (2, N)."""
    axes, half = frames
    away = axes @ points
    np.abs(away, out=away)
    if half_boxes is not None:
        away += np.abs(axes[:, :, :2]) @ half_boxes
    squared = away[:, 0]
    squared *= squared
    if axes.shape[1] == 2:
        beyond = away[:, 1]
        beyond -= half
        np.maximum(beyond, 0.0, out=beyond)
        beyond *= beyond
        squared += beyond
    return squared
