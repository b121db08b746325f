"""A stroke in, a mask out, on photos: mean IoU by size of the object, and its name.

Sizes are those of COCO: small below 32 x 32 pixels of the mask, large from 96 x 96 on, counted in
the photos as they are stored (COCO counts at 640; these are smaller).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.adapters.coco_instances import StrokeOnPhoto
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.benchmarks.scores import MODEL, silent, summarize_overlaps
from tracevlm_ros.evaluation.benchmarks.strokes import PEERS, answer_peer, answer_stroke
from tracevlm_ros.evaluation.metrics.masks import Overlap, overlap
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize


def size_class(pixels: int) -> str:
    """COCO's class of an object of ``pixels`` pixels."""
    return "small" if pixels < 32**2 else "medium" if pixels < 96**2 else "large"


def benchmark_instances(
    items: Sequence[StrokeOnPhoto],
    engine: Engine,
    config: PipelineConfig | None = None,
    peers: Sequence[str] = PEERS,
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Method -> figures of all strokes and of each size; the model also names the objects.

    Raises InputError when there is no stroke.
    """
    if not items:
        raise InputError("no stroke to run on; strokes.json is empty")
    groups: dict[str, dict[str, list[Overlap]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, float] = defaultdict(float)
    named = 0
    for done, item in enumerate(items, start=1):
        image, truth = read_rgb(item.image), item.mask()
        answers = {MODEL: answer_stroke(image, item.stroke_xyt, engine, config)}
        answers |= {peer: answer_peer(peer, image, item.stroke_xyt) for peer in peers}
        for method, answer in answers.items():
            found = overlap(answer.mask, truth)
            for group in ("all", size_class(int(truth.sum()))):
                groups[method][group].append(found)
            seconds[method] += answer.seconds
        named += names(answers[MODEL].text, item.category)
        progress(done)
    return {
        "methods": {
            method: {
                **{group: summarize_overlaps(by[group]) for group in sorted(by)},
                "ms_per_stroke": 1e3 * seconds[method] / len(items),
            }
            for method, by in groups.items()
        },
        "named": named / len(items),
    }


def names(text: str, category: str) -> bool:
    """Whether ``text`` says the category's words one after the other."""
    said, wanted = tokenize(text), tokenize(category)
    return any(said[i : i + len(wanted)] == wanted for i in range(len(said) - len(wanted) + 1))
