"""The textbook, compiled where numba is there: the same source, fast enough for long prefixes."""

import numpy as np

from tracevlm_ros.core.simplify import has_numba, reference
from tracevlm_ros.core.types import FloatArray, IntArray


def _keep_mask():
    if not has_numba():
        return reference.keep_mask
    from tracevlm_ros.core.simplify.search_kernels import (
        chord_between,
        compile_with,
        squared_distance,
    )

    farthest = compile_with(
        reference.farthest_interior,
        chord_between=chord_between,
        squared_distance=squared_distance,
    )
    return compile_with(reference.keep_mask, farthest_interior=farthest)


keep_mask = _keep_mask()


def textbook_indices(points: FloatArray, tolerance: float, metric: str) -> IntArray:
    """As ``simplify_reference``."""
    return np.flatnonzero(keep_mask(points, tolerance * tolerance, metric == "line"))
