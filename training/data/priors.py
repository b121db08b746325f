"""The mask of a moment ago as a clip would bring it: moved, worn, sometimes wrong, often absent."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray

ABSENT_SHARE = 0.5
WRONG_SHARE = 0.15
_WORKING_SIDE = 128


def draw_prior(
    mask: BoolArray, others: list[BoolArray], rng: np.random.Generator, side: int
) -> NDArray[np.float32]:
    """(side, side) 0..1: a worn copy of ``mask`` (S, S), of one of ``others``, or nothing."""
    if rng.random() < ABSENT_SHARE:
        return np.zeros((side, side), np.float32)
    if others and rng.random() < WRONG_SHARE:
        mask = others[int(rng.integers(len(others)))]
    size = (_WORKING_SIDE, _WORKING_SIDE)
    plane = np.asarray(
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
    moved = _moved(plane, rng)
    worn = _patched(_grown(moved, rng), rng)
    soft = cv2.GaussianBlur(worn, (0, 0), rng.uniform(0.5, 3.0))
    return np.asarray(cv2.resize(soft, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _extent(plane: NDArray[np.float32]) -> float:
    """Side in pixels of a square of the same area."""
    return float(np.sqrt(max(1.0, plane.sum())))


def _moved(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    rows, columns = np.nonzero(plane > 0.5)
    if not len(rows):
        return plane
    centre = (float(columns.mean()), float(rows.mean()))
    growth = float(np.exp(rng.normal(0, 0.08)))
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, rng.normal(0, 6), growth), np.float64)
    matrix[:, 2] += rng.normal(0, 0.06, 2) * _extent(plane)
    return np.asarray(cv2.warpAffine(plane, matrix, plane.shape[::-1]), np.float32)


def _grown(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Grown or shrunk by up to a tenth of its extent, half of the time."""
    reach = round(rng.uniform(0.0, 0.1) * _extent(plane))
    if reach < 1 or rng.random() < 0.5:
        return plane
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    act = cv2.dilate if rng.random() < 0.5 else cv2.erode
    return np.asarray(act(plane, kernel), np.float32)


def _patched(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Up to three blobs added at, or cut from, places on the outline."""
    edge = np.argwhere(np.abs(cv2.Laplacian(plane, cv2.CV_32F)) > 0.2)
    for _ in range(int(rng.integers(0, 4)) if len(edge) else 0):
        row, column = edge[int(rng.integers(len(edge)))]
        axes = [max(1, round(v)) for v in rng.uniform(0.05, 0.35, 2) * _extent(plane)]
        value = float(rng.random() < 0.4)
        cv2.ellipse(
            plane, (int(column), int(row)), axes, rng.uniform(0, 180), 0, 360, value, cv2.FILLED
        )
    return plane
