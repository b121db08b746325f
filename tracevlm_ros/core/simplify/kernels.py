"""The memoised split tree, compiled: exact keypoints of a segment after every sample.

The shape of the state is told in ``tree_arrays``; importing this module compiles nothing.
"""

import numpy as np

from tracevlm_ros.core.simplify.search_kernels import compile_with, farthest, index_boxes
from tracevlm_ros.core.simplify.tree_arrays import (
    CHAIN_COUNT,
    CHAIN_LENGTH,
    CHAIN_NODE,
    CHAIN_SPLIT,
    CHAIN_START,
    END,
    LEFT,
    NODES,
    NONE,
    RIGHT,
    SPLIT,
    STACK,
    START,
    UNKNOWN,
    SplitTree,
)
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray


@compile_with
def slot_of(tree: SplitTree, start: int, end: int) -> int:
    """The slot that holds the node of ``start..end``, or the free one where it belongs."""
    mask = len(tree.slots) - 1
    mixed = start * 2654435761 ^ end * 2246822519
    slot = (mixed ^ (mixed >> 15)) & mask
    while True:
        node = tree.slots[slot]
        if node < 0 or (tree.links[node, START] == start and tree.links[node, END] == end):
            return int(slot)
        slot = (slot + 1) & mask


@compile_with
def node_of(tree: SplitTree, start: int, end: int, is_line: bool) -> int:
    """The node of the closed interval ``start..end``; NONE where it has no interior point."""
    if end - start < 2:
        return NONE
    slot = slot_of(tree, start, end)
    node = tree.slots[slot]
    if node >= 0:
        return int(node)
    split, d2 = farthest(tree, start, end, is_line, -1)
    node = tree.head[NODES]
    tree.head[NODES] += 1
    tree.slots[slot] = node
    tree.distance2[node] = d2
    links = tree.links
    links[node, START] = start
    links[node, END] = end
    links[node, SPLIT] = split
    links[node, LEFT] = links[node, RIGHT] = UNKNOWN
    return int(node)


@compile_with
def emit(tree: SplitTree, node: int, tolerance2: float, is_line: bool, count: int) -> int:
    """Write the keypoints strictly inside the interval of ``node`` to ``out[count:]``, in order."""
    links, work, out = tree.links, tree.work, tree.out
    depth = 0
    while True:
        while node >= 0 and tree.distance2[node] > tolerance2:
            if links[node, LEFT] == UNKNOWN:
                links[node, LEFT] = node_of(tree, links[node, START], links[node, SPLIT], is_line)
            work[depth, STACK] = node
            depth += 1
            node = links[node, LEFT]
        if depth == 0:
            return count
        depth -= 1
        node = work[depth, STACK]
        out[count] = links[node, SPLIT]
        count += 1
        if links[node, RIGHT] == UNKNOWN:
            links[node, RIGHT] = node_of(tree, links[node, SPLIT], links[node, END], is_line)
        node = links[node, RIGHT]


@compile_with
def query(
    points: FloatArray,
    boxes: FloatArray,
    links: IntArray,
    distance2: FloatArray,
    slots: IntArray,
    work: IntArray,
    out: IntArray,
    search: IntArray,
    bounds: FloatArray,
    head: IntArray,
    count: int,
    tolerance2: float,
    is_line: bool,
    same: bool,
) -> int:
    """Keypoints of the first ``count`` >= 2 points to ``out``; returns how many.

    ``same``: the tolerance is that of the last query, so that whatever the chain did not change
    still stands in ``out``. Returns 0, having done nothing, where the nodes might not suffice:
    ``adopt`` the tree by a fresh one and ask again.
    """
    if head[NODES] + 2 * count > len(links):
        return 0
    tree = SplitTree(points, boxes, links, distance2, slots, work, out, search, bounds, head)
    index_boxes(tree, count)
    newest = count - 1
    known = head[CHAIN_LENGTH]
    start, level, kept = 0, 0, 1
    out[0] = 0
    while True:
        remembered = level < known and work[level, CHAIN_START] == start
        guess = work[level, CHAIN_SPLIT] if level < known else -1
        if guess <= start:
            guess = -1
        split, d2 = farthest(tree, start, newest, is_line, guess)
        if d2 <= tolerance2:
            break
        if same and remembered and guess == split:
            kept = work[level, CHAIN_COUNT]
        else:
            same = False
            node = node_of(tree, start, split, is_line)
            kept = emit(tree, node, tolerance2, is_line, kept)
            out[kept] = split
            kept += 1
            work[level, CHAIN_START] = start
            work[level, CHAIN_SPLIT] = split
            work[level, CHAIN_COUNT] = kept
            work[level, CHAIN_NODE] = node
        start = split
        level += 1
    head[CHAIN_LENGTH] = level
    out[kept] = newest
    return kept + 1


@compile_with
def copied(new: SplitTree, old: SplitTree, node: int) -> int:
    """The node of ``new`` for the interval of ``node`` in ``old``; its halves keep old numbers."""
    if node < 0:
        return node
    copy = new.head[NODES]
    new.head[NODES] += 1
    new.links[copy] = old.links[node]
    new.distance2[copy] = old.distance2[node]
    new.slots[slot_of(new, old.links[node, START], old.links[node, END])] = copy
    return int(copy)


@compile_with
def adopt(new: SplitTree, old: SplitTree) -> None:
    """Carry the chain of ``old`` and all that hangs on it, at most 2 nodes for each point, to the
    fresh tree ``new``, whose buffers are as large or larger. Splits of the past are left behind.

    The numbers that a node got in ``old`` are replaced in the order of the copies, as in a
    copying garbage collector."""
    length = old.head[CHAIN_LENGTH]
    new.head[CHAIN_LENGTH] = length
    new.out[: len(old.out)] = old.out
    new.work[:length] = old.work[:length]
    for level in range(length):
        new.work[level, CHAIN_NODE] = copied(new, old, old.work[level, CHAIN_NODE])
    node = 0
    while node < new.head[NODES]:
        new.links[node, LEFT] = copied(new, old, new.links[node, LEFT])
        new.links[node, RIGHT] = copied(new, old, new.links[node, RIGHT])
        node += 1


@compile_with
def keep_mask(tree: SplitTree, tolerance2: float, is_line: bool) -> BoolArray:
    """As ``reference.keep_mask`` for all points of ``tree``; its nodes are not used."""
    count = len(tree.points)
    keep = np.zeros(count, np.bool_)
    keep[0] = keep[count - 1] = True
    index_boxes(tree, count)
    stack = tree.work
    stack[0, START], stack[0, END] = 0, count - 1
    depth = 1
    while depth > 0:
        depth -= 1
        start, end = stack[depth, START], stack[depth, END]
        split, d2 = farthest(tree, start, end, is_line, -1)
        if d2 > tolerance2:
            keep[split] = True
            stack[depth, START], stack[depth, END] = start, split
            stack[depth + 1, START], stack[depth + 1, END] = split, end
            depth += 2
    return keep
