"""The grey pictures that the tracker keeps of a frame."""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray, Image

THUMBNAIL_LONG_SIDE = 320
_LOOK_HW = (18, 32)


class Pictures(NamedTuple):
    """``grey`` full resolution, ``work`` for optical flow, ``thumbnail`` for search, all uint8;
    ``look`` (18, 32) float32 for the comparison of whole frames. ``scale`` (2,) is work pixels
    per full pixel along x and y.
    """

    grey: Image
    work: Image
    thumbnail: Image
    look: NDArray[np.float32]
    scale: FloatArray

    def to_work(self, points_px: FloatArray) -> FloatArray:
        """Full-resolution pixels to working pixels (pixel centres at integers in both)."""
        return (points_px + 0.5) * self.scale - 0.5

    def to_full(self, points_work: FloatArray) -> FloatArray:
        """Working pixels to full-resolution pixels."""
        return (points_work + 0.5) / self.scale - 0.5


def _reduced(image: Image, long_side: int) -> Image:
    height, width = image.shape
    ratio = long_side / max(height, width)
    if ratio >= 1.0:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def take_pictures(image_rgb: Image, work_long_side: int) -> Pictures:
    """Grey pictures of ``image_rgb`` uint8 (H, W, 3). Raises InputError for any other array."""
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise InputError(
            f"frame is {image_rgb.dtype} {image_rgb.shape}; the tracker takes uint8 (H, W, 3)"
        )
    if 0 in image_rgb.shape:
        raise InputError(f"frame is {image_rgb.shape}; it must hold at least one pixel")
    grey = np.asarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    work = _reduced(grey, work_long_side)
    thumbnail = _reduced(work, THUMBNAIL_LONG_SIDE)
    look = cv2.resize(thumbnail, _LOOK_HW[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    scale = np.array([work.shape[1] / grey.shape[1], work.shape[0] / grey.shape[0]])
    return Pictures(grey, work, thumbnail, look, scale)


def shows_nothing(pictures: Pictures, black_level: float) -> bool:
    """True for a black (or otherwise uniform) frame: no structure above ``black_level``."""
    return all(_spread(image) < black_level for image in (pictures.look, pictures.thumbnail))


def _spread(image: NDArray[Any]) -> float:
    """Standard deviation of the pixels of ``image`` (H, W)."""
    return float(cv2.meanStdDev(image)[1][0, 0])


def correlation(one: Pictures, two: Pictures) -> float:
    """Correlation, -1..1, of how two frames look as a whole."""
    a, b = one.look - one.look.mean(), two.look - two.look.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
