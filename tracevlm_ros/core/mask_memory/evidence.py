"""Evidence for "this pixel is the object", as log-odds fields at the size of a small picture."""

import cv2
import numpy as np

from tracevlm_ros.core.mask_memory.config import MaskMemoryConfig
from tracevlm_ros.core.mask_memory.small_picture import Field
from tracevlm_ros.core.types import FloatArray

_SURE = 0.98


def of_model(logit: Field, size_hw: tuple[int, int], bound: float) -> Field:
    """The model's logits (any size), bounded."""
    full = cv2.resize(logit, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(full, -bound, bound), dtype=np.float32)


def of_seeds(seeds: FloatArray, size_hw: tuple[int, int], weight: float) -> Field:
    """A spot of ``weight`` at each seed (N, 2), 0..1 of the frame; seeds outside it are no help."""
    height, width = size_hw
    spots = np.zeros(size_hw, dtype=np.float32)
    column, row = np.floor(seeds * (width, height)).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    spots[row[inside], column[inside]] = weight
    return np.asarray(cv2.blur(cv2.dilate(spots, np.ones((3, 3))), (3, 3)), dtype=np.float32)


def trust_of_model(carried: Field, model: Field, config: MaskMemoryConfig) -> float:
    """``least_trust`` to 1: how far the model's mask is where the carried one expects it.

    Two masks that share little are no small change of one object: a jump, a leak, or another
    object. The model can still win, but only by saying so for many frames.
    """
    expected, said = carried > 0, model > 0
    union = np.count_nonzero(expected | said)
    overlap = np.count_nonzero(expected & said) / union if union else 1.0
    if config.agreement <= overlap:
        return 1.0
    return max(config.least_trust, overlap / config.agreement)


def share_of(odds: Field) -> Field:
    """Log-odds to 0..1."""
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float32)


def odds_of(share: Field) -> Field:
    """0..1 to log-odds; certainty is cut off."""
    bounded = np.clip(share, 1 - _SURE, _SURE)
    return np.asarray(np.log(bounded / (1 - bounded)), dtype=np.float32)
