"""Strokes that nobody drew: through the thing that a map shows, and as a model reads them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import BoolArray, FloatArray

POINTS = 5
_CELLS_A_POINT = 1.5
STEP_S = 0.175
"""From one keypoint of a drawn trace to the next, since a model draws places and no times: the
median of training's acts, thinned to six keypoints (60 scenes)."""


def stroke_in(logits: NDArray[np.float32]) -> FloatArray | None:
    """``logits`` (h, w) -> points (K, 2), K from 1 to ``POINTS``, in 0..1 of the picture, along the
    long axis of what the map is surest of and deep inside it; None where nothing is above 0.
    """
    thing = surest_part(logits)
    if thing is None:
        return None
    padded = np.pad(thing, 1).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], np.float64)
    row, column = np.nonzero(thing)
    cells = np.stack([column, row], axis=1).astype(np.float64)
    along = (cells - cells.mean(axis=0)) @ _long_axis(cells)
    extent = float(np.ptp(along)) + 1.0
    count = int(np.clip(round(extent / _CELLS_A_POINT), 1, POINTS))
    slices = np.minimum(((along - along.min()) * count / extent).astype(np.int64), count - 1)
    deepest = [_deepest(np.flatnonzero(slices == number), depth[row, column], along)
               for number in range(count) if (slices == number).any()]  # fmt: skip
    return np.asarray((cells[deepest] + 0.5) / logits.shape[::-1], np.float64)


def surest_part(logits: NDArray[np.float32]) -> BoolArray | None:
    """The connected part above 0 that holds most of the certainty, bool (h, w); None: nothing is
    above 0."""
    above = logits > 0
    if not above.any():
        return None
    count, labels = cv2.connectedComponents(above.astype(np.uint8))
    weight = np.bincount(labels.ravel(), 1.0 / (1.0 + np.exp(-logits.ravel())), count)
    return np.asarray(labels == 1 + int(weight[1:].argmax()))


def _long_axis(cells: FloatArray) -> FloatArray:
    """Direction (2,) in which ``cells`` (N, 2) spread most; it points right, or straight down."""
    if len(cells) < 2:
        return np.array([1.0, 0.0])
    axis: FloatArray = np.linalg.eigh(np.cov(cells.T))[1][:, -1]
    return axis if (axis[0], axis[1]) > (0.0, 0.0) else -axis


def _deepest(chosen: NDArray[np.intp], depth: FloatArray, along: FloatArray) -> int:
    """Of the cells ``chosen`` the deepest, of equals that in the middle of them."""
    off_middle = np.abs(along[chosen] - along[chosen].mean())
    return int(chosen[np.lexsort((off_middle, -depth[chosen]))[0]])


def as_prompt(points: FloatArray, max_keypoints: int) -> TracePrompt:
    """``points`` as a trace drawn in one go; those beyond ``max_keypoints`` are left out."""
    kept = points[:max_keypoints]
    dt_s = np.full(len(kept), STEP_S)
    dt_s[0] = 0.0
    return TracePrompt(kept, dt_s, np.zeros(len(kept), dtype=np.bool_))
