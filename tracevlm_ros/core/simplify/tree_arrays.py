"""The arrays on which the compiled kernels work; no numba here.

*Boxes*: leaf b covers points ``16 b .. 16 b + 15``; a box of level l covers 4 boxes of level
l - 1. *Nodes*: node m knows the closed interval ``start..end``, its farthest point ``split``, the
squared distance of that, and the nodes of both halves (or UNKNOWN, NONE). Since points never
change, a node never does. *Chain*: the intervals that end at the newest point, from the whole
trace down; only these are asked again for every sample.
"""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import FloatArray, IntArray

LEAF = 16
FAN_OUT = 4
NODES_PER_POINT = 6
UNKNOWN = -1
NONE = -2
START, END, SPLIT, LEFT, RIGHT = range(5)
CHAIN_START, CHAIN_SPLIT, CHAIN_COUNT, CHAIN_NODE, STACK = range(5)
INDEXED, NODES, CHAIN_LENGTH, FIRST_OFFSET = range(4)


class SplitTree(NamedTuple):
    """All state of one growing segment, as arrays; every kernel below works in place.

    ``points`` (P, 2); ``boxes`` (B, 4) as x0, y0, x1, y1; ``links`` (M, 5) and ``distance2`` (M,)
    are the nodes; ``slots`` (H,) hashes intervals to nodes, H a power of two; ``work``
    (max(P, 64), 5) holds the chain and a stack; ``out`` (P + 1,) the keypoints of the last query;
    ``search`` and ``bounds`` (64,) the stack of a search; ``head`` the counters, then the offset
    of every level of boxes.
    """

    points: FloatArray
    boxes: FloatArray
    links: IntArray
    distance2: FloatArray
    slots: IntArray
    work: IntArray
    out: IntArray
    search: IntArray
    bounds: FloatArray
    head: IntArray


def new_tree(points: FloatArray, nodes_per_point: int = NODES_PER_POINT) -> SplitTree:
    """An empty tree over ``points`` (P, 2), a buffer that fills up from its start."""
    capacity = len(points)
    offsets, boxes_of_level = [0], -(-capacity // LEAF)
    while boxes_of_level > 1:
        offsets.append(offsets[-1] + boxes_of_level)
        boxes_of_level = -(-boxes_of_level // FAN_OUT)
    nodes = nodes_per_point * capacity
    return SplitTree(
        points=points,
        boxes=np.zeros((offsets[-1] + 1, 4)),
        links=np.zeros((nodes, 5), dtype=np.int64),
        distance2=np.zeros(nodes),
        slots=np.full(1 << (2 * nodes).bit_length(), UNKNOWN, dtype=np.int64),
        work=np.zeros((max(capacity, 64), 5), dtype=np.int64),
        out=np.zeros(capacity + 1, dtype=np.int64),
        search=np.zeros(64, dtype=np.int64),
        bounds=np.zeros(64),
        head=np.array([0] * FIRST_OFFSET + offsets, dtype=np.int64),
    )


def box_tree(points: FloatArray) -> SplitTree:
    """A tree over ``points`` without room for nodes: enough for ``keep_mask``."""
    return new_tree(points, nodes_per_point=0)
