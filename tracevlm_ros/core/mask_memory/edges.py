"""Laying a soft mask on the edges of its picture: the guided filter of He et al. 2010."""

import cv2
import numpy as np

from tracevlm_ros.core.mask_memory.small_picture import Field
from tracevlm_ros.core.types import Image

_EPSILON = 1e-3
"""Variance of the grey values (0..1) below which a place counts as flat."""


def follow_edges(share: Field, grey: Image, radius: int) -> Field:
    """``share`` (h, w) as the locally linear function of ``grey`` (h, w) that fits it best."""
    guide = grey.astype(np.float32) / 255.0
    side = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_share = cv2.blur(guide, side), cv2.blur(share, side)
    covariance = cv2.blur(guide * share, side) - mean_guide * mean_share
    variance = cv2.blur(guide * guide, side) - mean_guide * mean_guide
    slope = covariance / (variance + _EPSILON)
    offset = mean_share - slope * mean_guide
    return np.asarray(cv2.blur(slope, side) * guide + cv2.blur(offset, side), dtype=np.float32)
