"""Region measures of binary masks: J, cIoU, gIoU, P@0.5.

J is the region similarity of Perazzi et al. 2016 (DAVIS); cIoU and gIoU are those of referring and
reasoning segmentation (sum over the data set, mean over the samples).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray


class Overlap(NamedTuple):
    """Pixels of one prediction against one truth."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """Intersection over union in 0..1; 1 when both masks are empty (DAVIS)."""
        return self.intersection / self.union if self.union else 1.0


def overlap(predicted: BoolArray, truth: BoolArray) -> Overlap:
    """Count the pixels of two boolean masks (H, W) of one size; InputError when sizes differ."""
    if predicted.shape != truth.shape:
        raise InputError(
            f"predicted mask is {predicted.shape} but the ground truth is {truth.shape}; "
            "both must be at the size of the camera image"
        )
    return Overlap(
        int(np.count_nonzero(predicted & truth)), int(np.count_nonzero(predicted | truth))
    )


def region_j(predicted: BoolArray, truth: BoolArray) -> float:
    """DAVIS region similarity J of one frame, 0..1."""
    return overlap(predicted, truth).iou


def cumulative_iou(overlaps: Sequence[Overlap]) -> float:
    """cIoU: summed intersections over summed unions; NaN without samples."""
    union = sum(one.union for one in overlaps)
    if not overlaps:
        return float("nan")
    return sum(one.intersection for one in overlaps) / union if union else 1.0


def mean_iou(overlaps: Sequence[Overlap]) -> float:
    """gIoU: mean IoU over samples; NaN without samples."""
    return float(np.mean([one.iou for one in overlaps])) if overlaps else float("nan")


def precision_at(overlaps: Sequence[Overlap], threshold: float = 0.5) -> float:
    """P@threshold: share of samples whose IoU is at least ``threshold``; NaN without samples."""
    if not overlaps:
        return float("nan")
    return float(np.mean([one.iou >= threshold for one in overlaps]))
