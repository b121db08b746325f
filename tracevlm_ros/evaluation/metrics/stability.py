"""How much the mask of one trace flickers from frame to frame, without any ground truth."""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import BoolArray
from tracevlm_ros.evaluation.metrics.masks import region_j


class Stability(NamedTuple):
    """``flicker`` is 1 - mean IoU of successive masks of a trace, each first moved so that the
    centroids agree (motion is no flicker); 0 is perfectly steady. ``gap_share`` is the share of
    frames between a trace's first and last mask that have none. NaN without enough frames."""

    flicker: float
    gap_share: float


class StabilityMeter:
    """Feed the masks of one trace frame by frame; None where a frame shows none."""

    def __init__(self) -> None:
        self._previous: BoolArray | None = None
        self._ious: list[float] = []
        self._frames = 0
        self._gaps = 0
        self._open_gap = 0

    def add(self, mask: BoolArray | None) -> None:
        if mask is None or not mask.any():
            self._open_gap += self._frames > 0
            self._previous = None
            return
        self._frames += 1 + self._open_gap
        self._gaps += self._open_gap
        self._open_gap = 0
        if self._previous is not None:
            self._ious.append(aligned_iou(self._previous, mask))
        self._previous = mask

    def result(self) -> Stability:
        flicker = 1.0 - float(np.mean(self._ious)) if self._ious else float("nan")
        gap_share = self._gaps / self._frames if self._frames else float("nan")
        return Stability(flicker, gap_share)


def aligned_iou(first: BoolArray, second: BoolArray) -> float:
    """IoU after shifting ``first`` by whole pixels onto the centroid of ``second``; neither empty.

    Pixels that the shift carries over the image's edge are lost to ``first``.
    """
    rows, columns = np.nonzero(first)
    target_rows, target_columns = np.nonzero(second)
    down = round(float(target_rows.mean() - rows.mean()))
    right = round(float(target_columns.mean() - columns.mean()))
    rows, columns = rows + down, columns + right
    height, width = first.shape
    kept = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved = np.zeros_like(first)
    moved[rows[kept], columns[kept]] = True
    return region_j(moved, second)
