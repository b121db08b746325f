"""Douglas-Peucker, exact while the trace grows (docs/simplification.md).

A complete segment: ``simplify``; a complete trace: ``simplify_segments``; a growing segment:
``IncrementalSimplifier``; the textbook that all are compared with: ``simplify_reference``.
"""

from tracevlm_ros.core.simplify.backend import has_numba, is_warm, warm_up
from tracevlm_ros.core.simplify.batch import SegmentedKeypoints, simplify, simplify_segments
from tracevlm_ros.core.simplify.incremental import IncrementalSimplifier
from tracevlm_ros.core.simplify.reference import simplify_reference
from tracevlm_ros.core.simplify.tolerance import tolerance_for

__all__ = [
    "IncrementalSimplifier",
    "SegmentedKeypoints",
    "has_numba",
    "is_warm",
    "simplify",
    "simplify_reference",
    "simplify_segments",
    "tolerance_for",
    "warm_up",
]
