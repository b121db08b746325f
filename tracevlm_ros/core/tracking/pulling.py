"""Pulling points back onto the object by a mask of it."""

from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import finite_rows
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray

_MOSTLY_OFF = 0.3


class Pulled(NamedTuple):
    """``xy`` (N, 2) new positions, ``pulled`` (N,) which moved."""

    xy: FloatArray
    pulled: BoolArray


def pull_into_mask(points: FloatArray, mask: BoolArray, *, whole: bool) -> Pulled:
    """Move ``points`` (N, 2) that are off ``mask`` (H, W) to the nearest pixel on it.

    With ``whole``, or when fewer than 0.3 of the points are on the mask, all points first shift
    together so that their centre comes onto the mask's. Points that are not finite stay.
    """
    finite = finite_rows(points)
    if not mask.any() or not finite.any():
        return Pulled(points, np.zeros(len(points), dtype=bool))
    xy = points.copy()
    on = on_mask(xy, mask, finite)
    if whole or on.sum() < _MOSTLY_OFF * finite.sum():
        xy[finite] += _centre_of(mask) - xy[finite].mean(axis=0)
        on = on_mask(xy, mask, finite)
    off = np.flatnonzero(finite & ~on)
    if len(off):
        xy[off] = nearest_on_mask(xy[off], mask)
    pulled = finite & np.any(xy != points, axis=1)
    if whole:
        pulled = finite
    return Pulled(xy, np.asarray(pulled, dtype=bool))


def core_of(mask: BoolArray, depth_share: float) -> BoolArray:
    """The pixels of ``mask`` (H, W) at least ``depth_share`` of its greatest depth from its rim."""
    core = np.zeros_like(mask)
    part = _part_of(mask)
    inside = mask[part]
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    core[part] = inside & (depth >= depth_share * float(depth.max()))
    return core


def on_mask(points: FloatArray, mask: BoolArray, finite: BoolArray) -> BoolArray:
    """Which of the ``finite`` points (N, 2) lie on a true pixel of ``mask`` (H, W)."""
    pixel = np.rint(np.where(finite[:, None], points, -1)).clip(-1, 2**30).astype(np.int64)
    height, width = mask.shape
    inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    on = np.zeros(len(points), dtype=bool)
    on[inside] = mask[pixel[inside, 1], pixel[inside, 0]]
    return on


def nearest_on_mask(points: FloatArray, mask: BoolArray) -> FloatArray:
    """Centre of the mask pixel that is nearest to each point, by a labelled distance transform."""
    height, width = mask.shape
    at = np.rint(points).clip((0, 0), (width - 1, height - 1)).astype(np.int64)
    part = _part_of(mask, at)
    mask, corner = mask[part], np.array([part[1].start, part[0].start])
    _, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    row, column = np.nonzero(mask)
    centres = np.zeros((int(labels.max()) + 1, 2))
    centres[labels[row, column]] = np.stack([column, row], axis=1)
    column, row = (at - corner).T
    nearest: FloatArray = centres[labels[row, column]] + corner
    return nearest


def _part_of(mask: BoolArray, points: IntArray | None = None) -> tuple[slice, slice]:
    """Rows and columns that hold ``mask`` (H, W) with a pixel round it, and ``points`` (N, 2).

    Most objects are small in their frame; what is sought for them need not pass over all of it.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    low, high = np.array([x, y]) - 1, np.array([x + width, y + height]) + 1
    if points is not None and len(points):
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0) + 1)
    low, high = np.maximum(low, 0), np.minimum(high, mask.shape[::-1])
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _centre_of(mask: BoolArray) -> FloatArray:
    """Mean place (2,) of the pixels of ``mask`` (H, W), which has some."""
    part = _part_of(mask)
    row, column = np.nonzero(mask[part])
    return np.array([column.mean() + part[1].start, row.mean() + part[0].start])
