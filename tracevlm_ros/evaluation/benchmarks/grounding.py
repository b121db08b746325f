"""Words to masks: what a model that locates finds of the noun phrases of narratives.

The measure is that of Panoptic Narrative Grounding: recall over IoU, average recall, for all
phrases, things, stuff, singulars and plurals. A phrase of which nothing is found has IoU 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracevlm_ros.core.engine import Engine, Locator, locator_of
from tracevlm_ros.core.errors import EngineMismatch, InputError
from tracevlm_ros.core.fovea import scaled
from tracevlm_ros.core.types import BoolArray
from tracevlm_ros.evaluation.adapters.panoptic_narratives import GroundedNarrative
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.benchmarks.scores import silent
from tracevlm_ros.evaluation.metrics.grounding_recall import (
    GroundedPhrase,
    phrase_iou,
    recall_by_group,
)

_CURVE_POINTS = 21


def benchmark_grounding(
    narratives: Sequence[GroundedNarrative],
    engine: Engine,
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Average recall and the curve of each group.

    Raises InputError without narratives, and EngineMismatch for a model that has not learned to
    locate.
    """
    if not narratives:
        raise InputError("no narrative with a grounded phrase; check the file")
    locator = locator_of(engine)
    if locator is None:
        raise EngineMismatch(
            f"the model '{engine.info.model_id}' has not learned to locate (prompt.locates in its "
            "manifest); load one that has"
        )
    scored: list[GroundedPhrase] = []
    found = 0
    for done, narrative in enumerate(narratives, start=1):
        features = engine.encode(read_rgb(narrative.image))
        ids = narrative.ids()
        size_hw = (ids.shape[0], ids.shape[1])
        for phrase in narrative.phrases:
            mask = _mask(locator, features, phrase.text, size_hw)
            found += mask is not None
            iou = 0.0 if mask is None else phrase_iou(mask, ids, phrase.segments)
            scored.append(GroundedPhrase(iou, phrase.is_thing, phrase.is_plural))
        progress(done)
    return {
        "narratives": len(narratives),
        "phrases": len(scored),
        "found": found,
        "groups": _groups(scored),
    }


def _groups(scored: Sequence[GroundedPhrase]) -> dict[str, Any]:
    groups = {}
    for name, curve in recall_by_group(scored).items():
        shown = np.linspace(0, len(curve.threshold) - 1, _CURVE_POINTS).round().astype(int)
        groups[name] = {
            "average_recall": curve.average,
            "phrases": curve.phrases,
            "recall_over_iou": [round(float(curve.recall[index]), 4) for index in shown],
        }
    return groups


def _mask(locator: Locator, features: Any, text: str, size_hw: tuple[int, int]) -> BoolArray | None:
    """None where nothing is found, or the phrase is longer than the model reads."""
    try:
        location = locator.locate(features, text)
    except EngineMismatch:
        return None
    if location is None or location.logits is None:
        return None
    return np.asarray(scaled(location.logits, size_hw) > 0)
