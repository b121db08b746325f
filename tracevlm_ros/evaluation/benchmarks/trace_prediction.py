"""Traces drawn for real captions, against the boxes of the words that people spoke while drawing.

A model that locates draws one trace for a caption, without times of words. So the drawn line is cut
into as many stretches of equal length as the truth has words; each word's box is that of its
stretch. Where the model draws nothing the full image stands in, as it does for the first baseline.
"""

from collections.abc import Sequence

import numpy as np

from tracevlm_ros.core.engine import Engine, locator_of
from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.types import FloatArray, Image
from tracevlm_ros.evaluation.metrics.lbm import FULL_IMAGE, lbm, trivial_baselines

NOT_LEARNED = "the model has not learned to locate; the trivial baselines stand alone"
_STEPS = 32
"""Points a stretch is looked at: its box holds the line, corners of the line to 1/32 of it."""


def draw(engine: Engine, image_rgb: Image, caption: str) -> FloatArray | None:
    """The points (K, 2) in 0..1 that the model draws for ``caption``; None where it finds nothing
    or where the text is longer than it reads."""
    locator = locator_of(engine)
    if locator is None:
        return None
    try:
        found = locator.locate(engine.encode(image_rgb), caption)
    except EngineMismatch:
        return None
    return None if found is None else found.points


def stretch_boxes(points: FloatArray, count: int) -> FloatArray:
    """Boxes (``count``, 4) of equal stretches of the line through ``points`` (K, 2)."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    asked = np.linspace(0.0, along[-1], count * _STEPS + 1)
    line = np.stack([np.interp(asked, along, points[:, axis]) for axis in (0, 1)], axis=1)
    parts = [line[i * _STEPS : (i + 1) * _STEPS + 1] for i in range(count)]
    return np.array([[*part.min(axis=0), *part.max(axis=0)] for part in parts])


def trace_scores(
    truths: Sequence[FloatArray], drawn: Sequence[FloatArray | None] | None, name: str
) -> dict[str, dict[str, float]]:
    """LBM (k = 0 and 1) of boxes that never look, and as ``name`` of what was ``drawn``, unless
    nobody draws (None); means over the narratives that have word boxes."""
    pairs = [
        (truth, None if drawn is None else drawn[i]) for i, truth in enumerate(truths) if len(truth)
    ]
    if not pairs:
        return {}
    mean_box = np.concatenate([truth for truth, _ in pairs]).mean(axis=0)
    found = {}
    for k in (0, 1):
        each = [trivial_baselines(truth, mean_box, k) for truth, _ in pairs]
        row = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
        if drawn is not None:
            row = {name: float(np.mean([lbm(_boxes(p, t), t, k) for t, p in pairs])), **row}
        found[f"lbm_k{k}"] = row
    return found


def _boxes(points: FloatArray | None, truth: FloatArray) -> FloatArray:
    return FULL_IMAGE[None] if points is None else stretch_boxes(points, len(truth))
