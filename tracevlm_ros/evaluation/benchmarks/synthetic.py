"""Held-out synthetic scenes: are size, texture, colour and shape said, and is the mask right?

Scenes come from seeds that training never draws; strokes and gaze take turns. Gaze is fed as a
pointer, so that the bench measures the model and not the fixation detector.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.types import BoolArray, FloatArray, Image
from tracevlm_ros.evaluation.benchmarks.scores import MODEL, silent, summarize_overlaps
from tracevlm_ros.evaluation.benchmarks.strokes import PEERS, answer_peer, answer_stroke
from tracevlm_ros.evaluation.metrics.masks import Overlap, overlap
from tracevlm_ros.synthetic.attention import dwell, scribble
from tracevlm_ros.synthetic.render import render
from tracevlm_ros.synthetic.scene import SceneConfig, sample_scene
from tracevlm_ros.synthetic.words import Attributes, attributes_of, parse_description

HELD_OUT_SEED = 2_000_003
ATTRIBUTES = ("size", "texture", "colour", "shape")
_ASPECTS_HW = ((480, 480), (480, 640), (360, 640))
_MIN_PIXELS = 200


class Look(NamedTuple):
    """One act of attention to one object of a scene."""

    image_rgb: Image
    mask: BoolArray
    attributes: Attributes
    trace_xyt: FloatArray
    by_stroke: bool


def looks(scenes: int) -> Iterator[Look]:
    """Every object that shows at least 200 pixels, in ``scenes`` scenes; always the same."""
    for number in range(scenes):
        rng = np.random.default_rng((HELD_OUT_SEED, number))
        size_hw = _ASPECTS_HW[number % len(_ASPECTS_HW)]
        scene = sample_scene(rng, SceneConfig(aspect=size_hw[1] / size_hw[0]))
        rendered = render(scene, size_hw)
        by_stroke = number % 2 == 0
        for index, item in enumerate(scene.objects):
            mask = rendered.labels == index + 1
            if np.count_nonzero(mask) >= _MIN_PIXELS:
                trace = (scribble if by_stroke else dwell)(mask, rng)
                yield Look(rendered.image_rgb, mask, attributes_of(item), trace, by_stroke)


def benchmark_synthetic(
    scenes: int,
    engine: Engine,
    config: PipelineConfig | None = None,
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Shares of looks whose attribute is said right, and IoU of the model and its peers."""
    right: Counter[str] = Counter()
    found: dict[str, list[Overlap]] = {}
    count = unparsed = 0
    for count, look in enumerate(looks(scenes), start=1):
        answer = answer_stroke(look.image_rgb, look.trace_xyt, engine, config)
        said = parse_description(answer.text)
        unparsed += said is None
        correct = [
            name
            for name in ATTRIBUTES
            if said is not None and getattr(said, name) == getattr(look.attributes, name)
        ]
        right.update(correct)
        right["all"] += len(correct) == len(ATTRIBUTES)
        kind = "strokes" if look.by_stroke else "gaze"
        masks = {MODEL: answer.mask, f"{MODEL}, {kind}": answer.mask}
        masks |= {p: answer_peer(p, look.image_rgb, look.trace_xyt).mask for p in PEERS}
        for method, mask in masks.items():
            found.setdefault(method, []).append(overlap(mask, look.mask))
        progress(count)
    return {
        "looks": count,
        "attributes": {name: right[name] / max(1, count) for name in (*ATTRIBUTES, "all")},
        "not_in_grammar": unparsed / max(1, count),
        "methods": {method: summarize_overlaps(each) for method, each in sorted(found.items())},
    }
