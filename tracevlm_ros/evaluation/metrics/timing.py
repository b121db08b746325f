"""Percentiles of delays and latencies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Percentiles(NamedTuple):
    """In the unit of the values; NaN when there were none."""

    samples: int
    mean: float
    p50: float
    p95: float
    p99: float
    highest: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Summarise delays; linear interpolation between order statistics (numpy's default)."""
    if not values:
        nan = float("nan")
        return Percentiles(0, nan, nan, nan, nan, nan)
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return Percentiles(len(values), float(np.mean(values)), p50, p95, p99, float(np.max(values)))
