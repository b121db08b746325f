"""LBM, the local bipartite matching of Meng et al. 2021, for predicted traces.

A trace is a sequence of word boxes (x0, y0, x1, y1), normalised to 0..1. The shorter sequence is
cut into chunks of 20; each is matched with the stretch of the longer one at the same relative
place: every box to one of its own, inside a band of half-width ``k`` around its relative place, at
the least mean L1 distance. The published code solves this as a linear program; its constraints are
totally unimodular, so it is an assignment problem and is solved exactly. A larger ``k`` only adds
pairs, hence LBM(k=1) <= LBM(k=0) always. Averages are per trace.
"""

import math

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray
from tracevlm_ros.evaluation.metrics.assignment import assign

_CHUNK = 20
FULL_IMAGE = np.array([0.0, 0.0, 1.0, 1.0])
CENTRE = np.array([0.25, 0.25, 0.75, 0.75])


def lbm(predicted: FloatArray, truth: FloatArray, k: int) -> float:
    """Mean L1 of the best local matching of boxes (N, 4) and (M, 4); lower is better.

    InputError for an empty sequence or boxes of another shape.
    """
    short, long = _boxes("predicted", predicted), _boxes("truth", truth)
    if len(short) > len(long):
        short, long = long, short
    step = _CHUNK * len(long) / len(short)
    costs = []
    for chunk in range(math.ceil(len(short) / _CHUNK)):
        part = short[chunk * _CHUNK : (chunk + 1) * _CHUNK]
        stretch = long[math.floor(chunk * step) : math.ceil((chunk + 1) * step)]
        costs.append(_match(part, stretch, k))
    return float(np.mean(costs))


def trivial_baselines(truth: FloatArray, mean_box: FloatArray, k: int) -> dict[str, float]:
    """LBM of boxes that never look: the full image, the centre, the mean box of the data set."""
    trivial = {"full image": FULL_IMAGE, "centre": CENTRE, "mean box": mean_box}
    return {name: lbm(np.tile(box, (len(truth), 1)), truth, k) for name, box in trivial.items()}


def _boxes(name: str, boxes: FloatArray) -> FloatArray:
    if boxes.ndim != 2 or len(boxes) == 0 or boxes.shape[1] < 4:
        raise InputError(f"{name} trace has shape {boxes.shape}; LBM needs (N >= 1, 4) word boxes")
    return np.asarray(boxes[:, :4], dtype=np.float64)


def _match(part: FloatArray, stretch: FloatArray, k: int) -> float:
    distance = np.abs(part[:, None] - stretch[None]).mean(axis=2)
    rows, columns = distance.shape
    scale = columns / rows
    place, row = np.arange(columns), np.arange(rows)[:, None]
    inside = (place >= (row - k) * scale) & (place < (row + 1 + k) * scale)
    chosen = assign(np.where(inside, distance, np.inf))
    return float(distance[np.arange(rows), chosen].mean())
