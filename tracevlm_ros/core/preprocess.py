"""From a camera image to the model's image: the same code in training and on the robot."""

import cv2
import numpy as np

from tracevlm_ros.core.shrinking import shrunk
from tracevlm_ros.core.types import Image


def fit_image(image_rgb: Image, size_hw: tuple[int, int]) -> Image:
    """Stretch uint8 (H, W, 3) to ``size_hw``: area averaging when shrinking, else bilinear.

    The aspect ratio is not kept, so that normalised trace coordinates need no change. Returns a
    new contiguous array, or the image itself where it has that size already.
    """
    height, width = size_hw
    if image_rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(image_rgb)
    if image_rgb.shape[0] >= height and image_rgb.shape[1] >= width:
        return shrunk(image_rgb, size_hw)
    return np.asarray(
        cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8
    )
