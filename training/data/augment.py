"""A picture as another camera, or another moment, would have taken it."""

import cv2
import numpy as np

from tracevlm_ros.core.types import Image
from training.data.sample import Sample

_BLUR_SHARE, _NOISE_SHARE, _GREY_SHARE = 0.15, 0.15, 0.04


def relight(image: Image, rng: np.random.Generator) -> Image:
    """Gain, gamma and a slight colour cast, as cameras differ."""
    levels = np.arange(256) / 255.0
    gamma, gain = rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.2)
    cast = gain * rng.uniform(0.93, 1.07, 3)
    table = np.clip(255.0 * levels[:, None] ** gamma * cast, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(256, 1, 3)), np.uint8)


def degrade(image: Image, rng: np.random.Generator) -> Image:
    """Now and then out of focus, noisy, or grey."""
    if rng.random() < _BLUR_SHARE:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    if rng.random() < _NOISE_SHARE:
        noise = rng.uniform(2.0, 12.0) * rng.standard_normal(image.shape, np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < _GREY_SHARE:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    return image


def mirror(sample: Sample) -> Sample:
    """Left and right exchanged."""
    instances = tuple(
        item._replace(mask=np.ascontiguousarray(item.mask[:, ::-1])) for item in sample.instances
    )
    flipped = np.ascontiguousarray(sample.image_rgb[:, ::-1])
    return sample._replace(image_rgb=flipped, instances=instances)
