"""One stroke on one still picture: mask and words by the pipeline, and masks of the peers."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import BoolArray, FloatArray, GazeSample, Image, Word
from tracevlm_ros.evaluation.adapters.case import drawn_on_still, pen_samples, stroke_settings
from tracevlm_ros.evaluation.peers.grabcut import grabcut_mask
from tracevlm_ros.evaluation.peers.hull import hull_mask
from tracevlm_ros.evaluation.replay import replay

PEERS = ("grabcut", "hull")


class StillAnswer(NamedTuple):
    """``mask`` (H, W) of the newest trace, empty without one; ``text`` is the final caption."""

    mask: BoolArray
    text: str
    seconds: float


def answer_stroke(
    image_rgb: Image,
    stroke_xyt: FloatArray,
    engine: Engine,
    config: PipelineConfig | None = None,
) -> StillAnswer:
    """The pipeline's answer to a stroke (N, 3) of pixels and seconds drawn on a still picture."""
    return answer_pen(image_rgb, pen_samples(stroke_xyt), (), engine, config)


def answer_pen(
    image_rgb: Image,
    pen: Sequence[GazeSample],
    words: Sequence[Word],
    engine: Engine,
    config: PipelineConfig | None = None,
) -> StillAnswer:
    """The same for pen readings with the words that were spoken while they were drawn."""
    pipeline = Pipeline(stroke_settings(config), engine)
    for word in words:
        pipeline.add_word(word)
    mask = np.zeros(image_rgb.shape[:2], dtype=bool)
    text, seconds = "", 0.0
    for outcome in replay(drawn_on_still(image_rgb, pen), pipeline, engine):
        seconds += ((outcome.step_ms or 0.0) + (outcome.describe_ms or 0.0)) / 1e3
        if outcome.masks is not None and outcome.masks.trace_ids:
            mask = outcome.masks.labels > 0
        finals = [one.caption.text for one in outcome.captions if one.caption.is_final]
        text = finals[-1] if finals else text
    return StillAnswer(mask, text, seconds)


def answer_peer(peer: str, image_rgb: Image, stroke_xyt: FloatArray) -> StillAnswer:
    """``grabcut`` or ``hull`` on the same stroke; they say nothing."""
    before = time.perf_counter()
    places = stroke_xyt[:, :2]
    if peer == "grabcut":
        mask = grabcut_mask(image_rgb, places)
    else:
        mask = hull_mask(places, (image_rgb.shape[0], image_rgb.shape[1]))
    return StillAnswer(mask, "", time.perf_counter() - before)
