"""How an object looks to the model: a linear discriminant on the encoder's features.

Least squares with a class each for the object and the rest (as target models of video object
segmentation do: Robinson et al., "Learning fast and robust target models", CVPR 2020). Only sums
are kept, so it learns from every frame and grows with none.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.fovea import scaled
from tracevlm_ros.core.mask_memory.small_picture import Field

_FINER = 2
_COARSE = 32
"""Grids below this are scaled up before they are learned: labels of a whole patch are coarse."""
_WIDEST = 256
"""Wider features are turned at random and cut: what is learned grows with the square of it."""
_RIDGE = 1e-3
_RENEWED = 0.05
_LEAST = 1e-6


class Looks(NamedTuple):
    """``features`` (h * w, C + 1) float32 of length 1 with a constant behind them, row by row."""

    features: NDArray[np.float32]
    size_hw: tuple[int, int]


class _Sums(NamedTuple):
    """Left and right side of the normal equations."""

    products: NDArray[np.float64]
    targets: NDArray[np.float64]


def take_looks(descriptors: NDArray[np.float32]) -> Looks:
    """Features (h, w, C) float32, any C, on a grid."""
    narrow = _narrowed(descriptors)
    height, width, channels = narrow.shape
    finer = _FINER if max(height, width) < _COARSE else 1
    rows = _between(height, finer) @ narrow.reshape(height, -1)
    columns = _between(width, finer) @ rows.reshape(finer * height, width, channels)
    all_of_them = columns.reshape(-1, channels)
    lengths = np.linalg.norm(all_of_them, axis=1, keepdims=True)
    unit = all_of_them / np.maximum(lengths, np.float32(_LEAST))
    features = np.concatenate([unit, np.ones_like(lengths)], axis=1)
    return Looks(features, (finer * height, finer * width))


def _between(count: int, finer: int) -> NDArray[np.float32]:
    """(finer * count, count): linear interpolation between ``count`` places, as of a picture."""
    places = np.eye(count, dtype=np.float32)
    size = (count, finer * count)
    return np.asarray(cv2.resize(places, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _narrowed(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Angles between features stay nearly what they were."""
    features = np.ascontiguousarray(descriptors, np.float32)
    channels = features.shape[-1]
    return features if channels <= _WIDEST else features @ _random_turn(channels)


@lru_cache(maxsize=4)
def _random_turn(channels: int) -> NDArray[np.float32]:
    """(channels, _WIDEST), always the same."""
    directions = np.random.default_rng(0).normal(0, 1, (channels, _WIDEST))
    return np.asarray(np.linalg.qr(directions)[0], np.float32)


class ObjectLook:
    """What tells an object from the rest of its picture.

    Half of the weight is the first mask's for good, the other half is renewed slowly.
    """

    def __init__(self, looks: Looks, share: Field) -> None:
        """``share`` (h, w) 0..1, any size: how surely each pixel is the object's."""
        self._first = self._recent = _sums(looks, share)
        self._solve()

    def renew(self, looks: Looks, share: Field) -> None:
        """Learn a little from a mask that is believed."""
        new = _sums(looks, share)
        self._recent = _Sums(
            (1 - _RENEWED) * self._recent.products + _RENEWED * new.products,
            (1 - _RENEWED) * self._recent.targets + _RENEWED * new.targets,
        )
        self._solve()

    def score(self, looks: Looks, size_hw: tuple[int, int]) -> Field:
        """At ``size_hw``: about 1 where the model sees the object, about -1 where it sees
        something else."""
        found = (looks.features @ self._weights).reshape(looks.size_hw)
        return scaled(found, size_hw)

    def _solve(self) -> None:
        products = 0.5 * (self._first.products + self._recent.products)
        targets = 0.5 * (self._first.targets + self._recent.targets)
        inner = np.arange(len(targets) - 1)
        products[inner, inner] += _RIDGE
        self._weights = np.linalg.solve(products, targets).astype(np.float32)


def _sums(looks: Looks, share: Field) -> _Sums:
    """Both classes count alike, however small the object is."""
    inside = scaled(share, looks.size_hw).ravel()
    outside = 1 - inside
    weights = 0.5 * (
        inside / max(float(inside.sum()), _LEAST) + outside / max(float(outside.sum()), _LEAST)
    )
    weighted = looks.features.T * weights
    return _Sums(
        (weighted @ looks.features).astype(np.float64),
        (weighted @ (2 * inside - 1)).astype(np.float64),
    )
