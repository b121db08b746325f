"""Coordinates as the model reads and writes them (METHOD.md, simplification and tokens)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 1000


def quantise(values: ArrayLike) -> NDArray[np.int64]:
    """Coordinates in 0..1 -> bins 0..999: ``min(999, floor(1000 clip(v, 0, 1)))``."""
    clipped = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    return np.minimum(BINS - 1, np.floor(BINS * clipped)).astype(np.int64)


def dequantise(bins: ArrayLike) -> NDArray[np.float64]:
    """Bins 0..999 -> the centre of each bin, ``(q + 0.5) / 1000``."""
    return (np.asarray(bins, dtype=np.float64) + 0.5) / BINS
