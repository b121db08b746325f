"""Making pictures smaller by averaging over areas, also by a ratio that is no whole number."""

import cv2
import numpy as np

from tracevlm_ros.core.types import Image

_LARGE = 160
"""Pixels a side from which an odd number of them may be halved: a column too many is no matter."""


def shrunk(image: Image, size_hw: tuple[int, int]) -> Image:
    """uint8 (H, W, ...) reduced to ``size_hw``, each of its pixels the mean of an area.

    A large one is halved as often as that goes, which is quick; only the rest goes the slow way.
    In the mean it is up to some 2 grey levels off the slow way alone.
    """
    height, width = size_hw
    least_hw = (max(2 * height, _LARGE), max(2 * width, _LARGE))
    while image.shape[0] >= least_hw[0] and image.shape[1] >= least_hw[1]:
        half_wh = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
