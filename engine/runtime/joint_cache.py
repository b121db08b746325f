"""Caches of several answers as rows of one, so that one pass reads them all on.

Rows end together: the shorter ones are padded in front, where the graph looks at nothing. Joining
and parting copy through host memory; both happen only when an answer begins or ends.
"""

from collections.abc import Sequence

import numpy as np

from engine.runtime.backend import Array, host
from engine.runtime.passes import GrownCache


def join(caches: Sequence[GrownCache]) -> GrownCache:
    """The ``caches`` of one answer each, in their order."""
    if len(caches) == 1:
        return caches[0]
    keys, values = zip(*((host(cache.keys), host(cache.values)) for cache in caches), strict=True)
    lengths = [array.shape[3] for array in keys]
    skipped = tuple(max(lengths) - length for length in lengths)

    def side_by_side(arrays: Sequence[Array]) -> Array:
        padded = [
            np.pad(array, ((0, 0), (0, 0), (0, 0), (count, 0), (0, 0)))
            for array, count in zip(arrays, skipped, strict=True)
        ]
        return np.concatenate(padded, axis=1)

    return GrownCache(side_by_side(keys), side_by_side(values), skipped)


def part(cache: GrownCache, row: int) -> GrownCache:
    """The answer ``row`` of ``cache`` alone, without its padding."""
    if len(cache.skipped) == 1:
        return cache
    start = cache.skipped[row]
    keys, values = (
        host(tensor)[:, row : row + 1, :, start:] for tensor in (cache.keys, cache.values)
    )
    return GrownCache(keys, values)
