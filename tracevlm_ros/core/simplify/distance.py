"""The one distance formula, and the bound on it over a box. Everything else must agree with these.

Two algorithms that simplify the same trace agree on ties only if they round alike. So the
arithmetic is written once, in plain Python on numbers; numba compiles these very functions, and
``squared_distances`` repeats them on arrays with the same operations in the same order.

The bound needs no safety margin. Rounding to nearest never swaps the order of two results, so
every rounded operation below is monotone in ``x`` and in ``y`` as the exact one is, and the
extremes over a box are those of its corners, rounding included. Two things would break this: a
fused multiply-add, and compiler flags that reorder sums (fastmath). Only a box that straddles an
end of a segment needs a margin: there the distance changes its formula inside the box, and
convexity, which rounding does not respect, has to stand in for monotonicity.
"""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import FloatArray

METRICS = ("segment", "line")

CLOSED_LENGTH2 = 1e-200
"""A chord shorter than 1e-100 px is closed: below, products of its sides would underflow."""

BOUND_MARGIN = 1e-13
"""Relative to the square of the greatest distance from the chord's start. Each of the formula's
operations errs by 1.1e-16 of it, so this is some 50 times more than the formula can err."""

BOUND_MARGIN_PX2 = 1e-100
"""Covers what underflow can add to the same."""


def is_line_metric(metric: str) -> bool:
    """True for ``"line"``, False for ``"segment"``; ConfigError for anything else."""
    if metric not in METRICS:
        raise ConfigError(f"metric is {metric!r}; it must be one of {', '.join(METRICS)}")
    return metric == "line"


class Chord(NamedTuple):
    """The straight line from (ax, ay) to (bx, by), with its difference and squared length."""

    ax: float
    ay: float
    bx: float
    by: float
    dx: float
    dy: float
    length2: float


def chord_between(ax: float, ay: float, bx: float, by: float) -> Chord:
    """The chord of two points."""
    dx = bx - ax
    dy = by - ay
    return Chord(ax, ay, bx, by, dx, dy, dx * dx + dy * dy)


def squared_distance(x: float, y: float, chord: Chord, is_line: bool) -> float:
    """Squared distance of (x, y) to the chord; to its infinite line if ``is_line``.

    The line is the paper's equation 2; a closed chord (both ends the same point) falls back to
    the distance to that point in both metrics.
    """
    ax, ay, bx, by, dx, dy, length2 = chord
    ux = x - ax
    uy = y - ay
    if length2 < CLOSED_LENGTH2:
        return ux * ux + uy * uy
    if not is_line:
        along = ux * dx + uy * dy
        if along <= 0.0:
            return ux * ux + uy * uy
        if along >= length2:
            vx = x - bx
            vy = y - by
            return vx * vx + vy * vy
    cross = ux * dy - uy * dx
    return cross * cross / length2


def greatest_squared_length(u0: float, u1: float, w0: float, w1: float) -> float:
    """Of the vectors with x in u0..u1 and y in w0..w1, the greatest squared length."""
    return max(u0 * u0, u1 * u1) + max(w0 * w0, w1 * w1)


def squared_distance_bound(
    x0: float, y0: float, x1: float, y1: float, chord: Chord, is_line: bool
) -> float:
    """No point of the box x0..x1, y0..y1 has a greater ``squared_distance``, to the last bit."""
    u0 = x0 - chord.ax
    u1 = x1 - chord.ax
    w0 = y0 - chord.ay
    w1 = y1 - chord.ay
    if chord.length2 < CLOSED_LENGTH2:
        return greatest_squared_length(u0, u1, w0, w1)
    if not is_line:
        s0 = u0 * chord.dx
        s1 = u1 * chord.dx
        t0 = w0 * chord.dy
        t1 = w1 * chord.dy
        least = min(s0, s1) + min(t0, t1)
        most = max(s0, s1) + max(t0, t1)
        if most <= 0.0:
            return greatest_squared_length(u0, u1, w0, w1)
        if least >= chord.length2:
            return greatest_squared_length(
                x0 - chord.bx, x1 - chord.bx, y0 - chord.by, y1 - chord.by
            )
        if least <= 0.0 or most >= chord.length2:
            margin = BOUND_MARGIN * greatest_squared_length(u0, u1, w0, w1) + BOUND_MARGIN_PX2
            corners = max(
                squared_distance(x0, y0, chord, False),
                squared_distance(x1, y0, chord, False),
                squared_distance(x0, y1, chord, False),
                squared_distance(x1, y1, chord, False),
            )
            return corners + margin
    s0 = u0 * chord.dy
    s1 = u1 * chord.dy
    t0 = w0 * chord.dx
    t1 = w1 * chord.dx
    high = max(s0, s1) - min(t0, t1)
    low = min(s0, s1) - max(t0, t1)
    return max(high * high, low * low) / chord.length2


def squared_distances(x: FloatArray, y: FloatArray, chord: Chord, is_line: bool) -> FloatArray:
    """``squared_distance`` of each point of ``x``, ``y``, equal to the last bit."""
    ux = x - chord.ax
    uy = y - chord.ay
    if chord.length2 < CLOSED_LENGTH2:
        return np.asarray(ux * ux + uy * uy)
    cross = ux * chord.dy
    cross -= uy * chord.dx
    cross *= cross
    cross /= chord.length2
    if is_line:
        return np.asarray(cross)
    along = ux * chord.dx
    along += uy * chord.dy
    np.copyto(cross, ux * ux + uy * uy, where=along <= 0.0)
    vx = x - chord.bx
    vy = y - chord.by
    np.copyto(cross, vx * vx + vy * vy, where=along >= chord.length2)
    return np.asarray(cross)
