"""The colours of an object and of the rest of its picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.mask_memory.small_picture import (
    COLOURS,
    HUE_BINS,
    LIGHT_BINS,
    Field,
    SmallPicture,
)

_RENEWED = 0.05
_DOUBT = 2.0 / COLOURS
"""Added to every bin: a colour that neither side has shown says nothing."""

Histograms = NDArray[np.float64]


class Appearance:
    """Colour histograms of an object and of the rest of the picture.

    Half of the weight is held by the first mask for good, so that a mask that slid off its object
    cannot teach another look; the other half is renewed slowly.
    """

    def __init__(self, picture: SmallPicture, share: Field) -> None:
        """``share`` (h, w) 0..1: how surely each pixel is the object's."""
        self._first = _histograms(picture, share)
        self._recent = self._first

    def renew(self, picture: SmallPicture, share: Field) -> None:
        """Learn a little from a mask that is believed."""
        new = _histograms(picture, share)
        self._recent = (1 - _RENEWED) * self._recent + _RENEWED * new

    def log_ratio(self, picture: SmallPicture) -> Field:
        """(h, w): log of how much likelier a pixel's colour is on the object than elsewhere."""
        inside, outside = self._known
        ratio = np.log((inside + _DOUBT) / (outside + _DOUBT)).astype(np.float32)
        return np.asarray(cv2.blur(ratio[picture.colour], (3, 3)), dtype=np.float32)

    def likeness(self, picture: SmallPicture, share: Field) -> float:
        """0..1: overlap (Bhattacharyya) of the colours under ``share`` with the object's."""
        return float(np.sqrt(_histogram(picture, share) * self._known[0]).sum())

    @property
    def _known(self) -> Histograms:
        return 0.5 * (self._first + self._recent)


def _histograms(picture: SmallPicture, share: Field) -> Histograms:
    """(2, COLOURS), each of sum 1: of the object, and of the rest."""
    return np.stack([_histogram(picture, share), _histogram(picture, 1 - share)])


def _histogram(picture: SmallPicture, weight: Field) -> NDArray[np.float64]:
    counts = np.bincount(picture.colour.ravel(), weight.ravel(), COLOURS)
    hues = counts.reshape(LIGHT_BINS, HUE_BINS, HUE_BINS).transpose(1, 2, 0)
    smooth = cv2.GaussianBlur(np.ascontiguousarray(hues), (3, 3), 0).transpose(2, 0, 1).ravel()
    return np.asarray(smooth / max(float(smooth.sum()), 1e-9), dtype=np.float64)
