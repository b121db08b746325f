"""What the memory keeps of a frame: a small picture, and the dense motion from one to the next."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.shrinking import shrunk
from tracevlm_ros.core.types import Image

Field = NDArray[np.float32]
"""(h, w) values at the pixels of a small picture."""
Flags = NDArray[np.bool_]

LIGHT_BINS, HUE_BINS = 8, 16
COLOURS = LIGHT_BINS * HUE_BINS * HUE_BINS
_HUE_FROM, _HUE_STEP = 64, 8
"""a and b of ordinary pictures lie in the middle half of their range: finer bins there."""
_ALIKE_LEVELS = 12.0
_MEAN_OF_THREE = np.full(3, 1 / 3, np.float32)
_FINEST_SCALE = 0
"""The presets stop two octaves above and see less than half of a small thing's 2 pixels a frame."""

_STRIDE = 5
"""Patches of 8 pixels every so many (the presets have 4): a third less time (1.2 ms, not 1.8), and
clips have J .659 instead of .662, which ten clips cannot tell apart."""


class SmallPicture(NamedTuple):
    """``rgb`` uint8 (h, w, 3), ``grey`` uint8 (h, w), ``colour`` (h, w) bin below COLOURS."""

    rgb: Image
    grey: Image
    colour: NDArray[np.int32]

    @property
    def size_hw(self) -> tuple[int, int]:
        height, width = self.grey.shape
        return height, width


class Origin(NamedTuple):
    """Where each pixel of a picture was in the one before: ``x``, ``y`` float32 (h, w).

    ``trust`` (h, w) is 1 where both look alike and near 0 where something was uncovered.
    """

    x: Field
    y: Field
    trust: Field


def small_size(image_hw: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Height and width of the small picture of an image."""
    height, width = image_hw
    ratio = min(1.0, long_side / max(height, width))
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def take_small(image_rgb: Image, size_hw: tuple[int, int]) -> SmallPicture:
    """Reduce uint8 (H, W, 3) to ``size_hw``."""
    rgb = shrunk(image_rgb, size_hw)
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), dtype=np.int32)
    light = lab[..., 0] * LIGHT_BINS // 256
    hue = np.clip((lab[..., 1:] - _HUE_FROM) // _HUE_STEP, 0, HUE_BINS - 1)
    return SmallPicture(rgb, grey, (light * HUE_BINS + hue[..., 0]) * HUE_BINS + hue[..., 1])


class DenseMotion:
    """Dense inverse-search flow (Kroeger et al. 2016, OpenCV) between successive small pictures."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(_FINEST_SCALE)
        self._flow.setPatchStride(_STRIDE)

    def origin(self, before: SmallPicture, now: SmallPicture) -> Origin:
        """Where the pixels of ``now`` were in ``before``; both of one size."""
        height, width = now.grey.shape
        start = np.zeros((height, width, 2), dtype=np.float32)
        flow = np.asarray(self._flow.calc(now.grey, before.grey, start), dtype=np.float32)
        row, column = np.indices((height, width), dtype=np.float32)
        x, y = column + flow[..., 0], row + flow[..., 1]
        came = cv2.remap(before.rgb, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        apart = cv2.absdiff(came, now.rgb).astype(np.float32) @ _MEAN_OF_THREE
        trust = np.exp(-((apart / _ALIKE_LEVELS) ** 2))
        outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
        return Origin(x, y, np.where(outside, np.float32(0), trust))


def carry(field: Field, origin: Origin) -> Field:
    """``field`` (h, w) of the picture before as it lies in this one, 0 where that is unknown.

    A little blurred: an edge is not known better than to a pixel. What was uncovered keeps nothing.
    """
    moved = cv2.remap(
        field, origin.x, origin.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(cv2.GaussianBlur(moved, (3, 3), 0) * origin.trust, dtype=np.float32)
