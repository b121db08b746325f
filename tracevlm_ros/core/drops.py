"""Counting what is thrown away, by reason: nothing is dropped in silence."""

from collections import Counter


class Drops(Counter[str]):
    """``drops["gaze_stale"] += 1``; keys are ``<what>_<why>``, as diagnostics show them."""
