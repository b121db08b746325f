"""Real mouse traces with real words: what is said of them, and what trivial answers score.

The trace is drawn as it was recorded. ``words`` feeds the words' times too: they then weigh the
trace (paper mode); without them nothing of the reference reaches the model (the headline).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine, locator_of
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray
from tracevlm_ros.evaluation.adapters.narratives import (
    DrawnPicture,
    timed_pen,
    timed_words,
    word_boxes,
)
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.benchmarks.scores import MODEL, silent
from tracevlm_ros.evaluation.benchmarks.strokes import answer_pen
from tracevlm_ros.evaluation.benchmarks.trace_prediction import NOT_LEARNED, draw, trace_scores
from tracevlm_ros.evaluation.metrics.bleu import bleu
from tracevlm_ros.evaluation.metrics.cider import cider_d
from tracevlm_ros.evaluation.metrics.rouge_l import rouge_l
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize


def benchmark_vidln(
    items: Sequence[DrawnPicture],
    engine: Engine,
    config: PipelineConfig | None = None,
    *,
    words: bool = False,
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Caption figures of the model and of two trivial speakers, and LBM of the traces that it draws
    for the captions, where it has learned to locate, and of trivial ones.

    Raises InputError when there is no narrative with a trace.
    """
    if not items:
        raise InputError("no narrative with a trace; check the file")
    locates = locator_of(engine) is not None
    said, references = [], []
    drawn: list[FloatArray | None] = []
    for done, item in enumerate(items, start=1):
        image = read_rgb(item.image)
        size_hw = (image.shape[0], image.shape[1])
        pen = timed_pen(item.narrative, size_hw)
        spoken = timed_words(item.narrative, size_hw) if words else []
        said.append(answer_pen(image, pen, spoken, engine, config).text)
        references.append(item.narrative.caption)
        drawn.append(draw(engine, image, item.narrative.caption) if locates else None)
        progress(done)
    speakers = {MODEL: said, **trivial_speakers(items)}
    return {
        "narratives": len(items),
        "words_weigh_the_trace": words,
        "captions": {name: caption_figures(texts, references) for name, texts in speakers.items()},
        "trace_prediction": _trace_prediction(items, drawn if locates else None),
        "examples": [
            {"said": text, "reference": reference}
            for text, reference in list(zip(said, references, strict=True))[:5]
        ],
    }


def trivial_speakers(items: Sequence[DrawnPicture]) -> dict[str, list[str]]:
    """Texts that never look: the caption of another picture, and the one most like all others.

    Both take captions of other videos or pictures only.
    """
    captions = [item.narrative.caption for item in items]
    media = [item.narrative.media_id.split("/")[0] for item in items]
    tokens = [tokenize(caption) for caption in captions]
    another, typical = [], []
    for index, own in enumerate(media):
        others = [i for i, one in enumerate(media) if one != own]
        if not others:
            another.append("")
            typical.append("")
            continue
        another.append(captions[others[index % len(others)]])
        distinct = sorted({captions[i]: i for i in others}.values())
        scores = [
            np.mean([rouge_l(tokens[i], [tokens[j]]) for j in distinct if j != i] or [0.0])
            for i in distinct
        ]
        typical.append(captions[distinct[int(np.argmax(scores))]])
    return {"another picture's caption": another, "most typical other caption": typical}


def caption_figures(said: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU-1 to 4, ROUGE-L and CIDEr-D, one reference each."""
    candidates = [tokenize(text) for text in said]
    truths = [[tokenize(text)] for text in references]
    orders = bleu(candidates, truths)
    pairs = zip(candidates, truths, strict=True)
    return {
        **{f"bleu_{n}": value for n, value in enumerate(orders, start=1)},
        "rouge_l": float(np.mean([rouge_l(text, refs) for text, refs in pairs])),
        "cider_d": float(np.mean(cider_d(candidates, truths))),
    }


def _trace_prediction(
    items: Sequence[DrawnPicture], drawn: Sequence[FloatArray | None] | None
) -> dict[str, Any]:
    """LBM of the model, if it locates, and of trivial boxes."""
    scores = trace_scores([word_boxes(item.narrative) for item in items], drawn, MODEL)
    if drawn is None:
        return {"reason": NOT_LEARNED, **scores}
    return {"drawn": sum(points is not None for points in drawn), **scores}
