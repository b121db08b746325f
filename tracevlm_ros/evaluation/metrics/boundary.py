"""Boundary measure F of Perazzi et al. 2016, as DAVIS evaluates it."""

import math

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray

TOLERANCE = 0.008


def boundary_f(predicted: BoolArray, truth: BoolArray, tolerance: float = TOLERANCE) -> float:
    """F of two boolean masks (H, W): boundary pixels match within ``ceil(tolerance * diagonal)``.

    1 when neither mask has a boundary, 0 when only one has. InputError when sizes differ.
    """
    if predicted.shape != truth.shape:
        raise InputError(
            f"predicted mask is {predicted.shape} but the ground truth is {truth.shape}; "
            "both must be at the size of the camera image"
        )
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    edge, true_edge = boundary(predicted), boundary(truth)
    count, true_count = np.count_nonzero(edge), np.count_nonzero(true_edge)
    if count == 0 or true_count == 0:
        return float(count == true_count)
    precision = np.count_nonzero(edge & _thicken(true_edge, radius)) / count
    recall = np.count_nonzero(true_edge & _thicken(edge, radius)) / true_count
    total = precision + recall
    return float(2.0 * precision * recall / total) if total else 0.0


def boundary(mask: BoolArray) -> BoolArray:
    """One-pixel boundary map: pixels that differ from their right, lower or diagonal neighbour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((mask ^ right) | (mask ^ below) | (mask ^ diagonal))


def _thicken(edge: BoolArray, radius: int) -> BoolArray:
    """Every pixel within ``radius`` (Euclidean, inclusive) of the edge."""
    offsets = np.arange(-radius, radius + 1)
    disk = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)
    return np.asarray(cv2.dilate(edge.astype(np.uint8), disk) > 0)
