"""Branch and bound over bounding boxes, compiled: the farthest point of an interval.

Importing this module imports numba but compiles nothing: a kernel compiles at its first call
(``backend.warm_up`` makes it). No kernel uses fastmath; see ``distance`` for why. numba's disk
cache watches the file of each kernel only: after a change in ``distance``, clear ``__pycache__``.
"""

from collections.abc import Callable
from types import FunctionType
from typing import TypeVar

import numba

from tracevlm_ros.core.simplify import distance
from tracevlm_ros.core.simplify.tree_arrays import FAN_OUT, FIRST_OFFSET, INDEXED, LEAF, SplitTree
from tracevlm_ros.core.types import FloatArray

F = TypeVar("F", bound=Callable[..., object])

DIRECT = 2 * LEAF
"""Intervals up to this long are scanned without asking the boxes."""


def compile_with(function: F, **callees: Callable[..., object]) -> F:
    """``function`` compiled, with the functions that it calls replaced by compiled ones.

    The result is kept on disk where numba finds a writable place, else made anew in each process.
    """
    source = FunctionType(
        function.__code__,
        {**function.__globals__, **callees},
        function.__name__,
    )
    source.__module__ = function.__module__
    source.__qualname__ = function.__qualname__
    compiled: F
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(source)
    except RuntimeError:  # no writable cache folder
        compiled = numba.njit(nogil=True, error_model="numpy")(source)
    return compiled


chord_between = compile_with(distance.chord_between)
greatest_squared_length = compile_with(distance.greatest_squared_length)
squared_distance = compile_with(distance.squared_distance)
squared_distance_bound = compile_with(
    distance.squared_distance_bound,
    squared_distance=squared_distance,
    greatest_squared_length=greatest_squared_length,
)


@compile_with
def cover(boxes: FloatArray, parent: int, first: int, count: int) -> None:
    """Make box ``parent`` the hull of the ``count`` boxes from ``first`` on."""
    for side in range(2):
        low, high = boxes[first, side], boxes[first, side + 2]
        for box in range(first + 1, first + count):
            low = min(low, boxes[box, side])
            high = max(high, boxes[box, side + 2])
        boxes[parent, side] = low
        boxes[parent, side + 2] = high


@compile_with
def index_boxes(tree: SplitTree, count: int) -> None:
    """Bring the boxes up to the first ``count`` points; amortised constant per point."""
    points, boxes, head = tree.points, tree.boxes, tree.head
    first = head[INDEXED]
    for index in range(first, count):
        x, y = points[index, 0], points[index, 1]
        leaf = index // LEAF
        if index % LEAF == 0:
            boxes[leaf, 0] = boxes[leaf, 2] = x
            boxes[leaf, 1] = boxes[leaf, 3] = y
        else:
            boxes[leaf, 0] = min(boxes[leaf, 0], x)
            boxes[leaf, 1] = min(boxes[leaf, 1], y)
            boxes[leaf, 2] = max(boxes[leaf, 2], x)
            boxes[leaf, 3] = max(boxes[leaf, 3], y)
    low, high = first // LEAF, (count - 1) // LEAF
    level = 1
    while high > 0:
        below, here = head[FIRST_OFFSET + level - 1], head[FIRST_OFFSET + level]
        for parent in range(low // FAN_OUT, high // FAN_OUT + 1):
            cover(
                boxes,
                here + parent,
                below + FAN_OUT * parent,
                min(FAN_OUT, high + 1 - FAN_OUT * parent),
            )
        low, high = low // FAN_OUT, high // FAN_OUT
        level += 1
    head[INDEXED] = count


@compile_with
def scan(
    points: FloatArray,
    chord: distance.Chord,
    first: int,
    last: int,
    is_line: bool,
    split: int,
    greatest: float,
) -> tuple[int, float]:
    """The farther of (``split``, ``greatest``) and ``first..last``; the earliest of equals."""
    for index in range(first, last + 1):
        d2 = squared_distance(points[index, 0], points[index, 1], chord, is_line)
        if d2 > greatest or (d2 == greatest and index < split):
            split = index
            greatest = d2
    return split, greatest


@compile_with
def farthest(tree: SplitTree, start: int, end: int, is_line: bool, guess: int) -> tuple[int, float]:
    """As ``reference.farthest_interior``. ``guess``, an interior index or -1, only saves time."""
    points, boxes, head = tree.points, tree.boxes, tree.head
    chord = chord_between(points[start, 0], points[start, 1], points[end, 0], points[end, 1])
    first, last = start + 1, end - 1
    if last - first < DIRECT:
        return scan(points, chord, first, last, is_line, -1, -1.0)
    split, greatest = -1, -1.0
    if guess >= 0:
        split, greatest = scan(points, chord, guess, guess, is_line, -1, -1.0)
    level, span = 0, LEAF
    while last // span - first // span >= FAN_OUT:
        level += 1
        span *= FAN_OUT
    stack, bounds = tree.search, tree.bounds
    depth = 0
    low, high = first // span, last // span
    while True:
        offset = head[FIRST_OFFSET + level]
        best, best_place = -1.0, depth
        for box in range(low, high + 1):
            place = offset + box
            bound = squared_distance_bound(
                boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3], chord, is_line
            )
            if bound > greatest or (bound == greatest and box * span <= split):
                bounds[depth] = bound
                stack[depth] = 32 * box + level
                if bound > best:
                    best, best_place = bound, depth
                depth += 1
        if best >= 0.0:
            bounds[best_place], bounds[depth - 1] = bounds[depth - 1], bounds[best_place]
            stack[best_place], stack[depth - 1] = stack[depth - 1], stack[best_place]
        while True:
            if depth == 0:
                return split, greatest
            depth -= 1
            bound, level, box = bounds[depth], stack[depth] & 31, stack[depth] >> 5
            span = LEAF << (2 * level)
            if bound < greatest or (bound == greatest and box * span > split):
                continue
            if level > 0:
                break
            begin = max(first, box * LEAF)
            until = min(last, box * LEAF + LEAF - 1)
            split, greatest = scan(points, chord, begin, until, is_line, split, greatest)
        level -= 1
        span //= FAN_OUT
        low = max(FAN_OUT * box, first // span)
        high = min(FAN_OUT * box + FAN_OUT - 1, last // span)
