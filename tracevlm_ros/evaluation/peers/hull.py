"""The simplest answer: the convex hull of the stroke."""

import cv2
import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray


def hull_mask(points_px: FloatArray, size_hw: tuple[int, int]) -> BoolArray:
    """Convex hull of points (N, 2) as a mask (H, W); empty without a finite point."""
    mask = np.zeros(size_hw, dtype=np.uint8)
    seen = points_px[np.isfinite(points_px).all(axis=1)]
    if len(seen):
        hull = cv2.convexHull(np.rint(seen).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1)
    return mask > 0
