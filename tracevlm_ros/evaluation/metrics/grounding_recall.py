"""Recall of grounded phrases over IoU thresholds, as Panoptic Narrative Grounding reports it.

González et al. 2021: a phrase is recalled at a threshold when the IoU of its predicted mask with
the union of its segments reaches it; the average recall is the area under the curve of recall over
thresholds in 0..1. Given for all phrases, things and stuff, singulars and plurals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray
from tracevlm_ros.evaluation.metrics.masks import overlap

POINTS = 1001


class GroundedPhrase(NamedTuple):
    """One noun phrase and how well its mask was found."""

    iou: float
    is_thing: bool
    is_plural: bool


class RecallCurve(NamedTuple):
    """``recall[i]`` at ``threshold[i]``, both (P,) in 0..1; ``average`` is the area under it."""

    threshold: FloatArray
    recall: FloatArray
    average: float
    phrases: int


def phrase_iou(predicted: BoolArray, panoptic: NDArray[np.int64], segments: Sequence[int]) -> float:
    """IoU of a mask (H, W) with the union of the panoptic segments (ids per pixel) of a phrase."""
    return overlap(predicted, np.isin(panoptic, list(segments))).iou


def segment_ids(panoptic_rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """COCO panoptic PNG (H, W, 3 RGB) -> ids per pixel: R + 256 G + 65536 B."""
    parts = panoptic_rgb.astype(np.int64)
    return np.asarray(parts[..., 0] + 256 * parts[..., 1] + 65536 * parts[..., 2])


def recall_curve(ious: Sequence[float], points: int = POINTS) -> RecallCurve:
    """Share of ``ious`` at or above each of ``points`` thresholds from 0 to 1; the area by
    trapezoids. Raises InputError for none, or for values outside 0..1."""
    values = np.sort(np.asarray(ious, dtype=np.float64))
    if values.size == 0 or not (values[0] >= 0.0 and values[-1] <= 1.0):
        raise InputError(f"recall needs IoUs in 0..1, at least one; there are {values.size}")
    threshold = np.linspace(0.0, 1.0, points)
    recall = 1.0 - np.searchsorted(values, threshold, side="left") / values.size
    area = float(((recall[1:] + recall[:-1]) / 2 * np.diff(threshold)).sum())
    return RecallCurve(threshold, recall, area, int(values.size))


def recall_by_group(phrases: Sequence[GroundedPhrase]) -> dict[str, RecallCurve]:
    """Curves of all phrases and of each group that has any."""
    groups = {
        "all": list(phrases),
        "things": [one for one in phrases if one.is_thing],
        "stuff": [one for one in phrases if not one.is_thing],
        "singulars": [one for one in phrases if not one.is_plural],
        "plurals": [one for one in phrases if one.is_plural],
    }
    return {name: recall_curve([x.iou for x in group]) for name, group in groups.items() if group}
