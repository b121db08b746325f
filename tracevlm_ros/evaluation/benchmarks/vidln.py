"""Real mouse traces with real words: what is said of them, and what trivial answers score.

The trace is drawn as it was recorded. ``words`` feeds the words' times too: they then weigh the
trace (paper mode); without them nothing of the reference reaches the model (the headline).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.adapters.narratives import (
    DrawnPicture,
    timed_pen,
    timed_words,
    word_boxes,
)
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.benchmarks.scores import MODEL, silent
from tracevlm_ros.evaluation.benchmarks.strokes import answer_pen
from tracevlm_ros.evaluation.metrics.bleu import bleu
from tracevlm_ros.evaluation.metrics.cider import cider_d
from tracevlm_ros.evaluation.metrics.lbm import trivial_baselines
from tracevlm_ros.evaluation.metrics.rouge_l import rouge_l
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize

NO_TRACE = "this engine draws no traces (text to trace); the trivial baselines stand alone"


def benchmark_vidln(
    items: Sequence[DrawnPicture],
    engine: Engine,
    config: PipelineConfig | None = None,
    *,
    words: bool = False,
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Caption figures of the model and of two trivial speakers, and LBM of trivial traces.

    Raises InputError when there is no narrative with a trace.
    """
    if not items:
        raise InputError("no narrative with a trace; check the file")
    said, references = [], []
    for done, item in enumerate(items, start=1):
        image = read_rgb(item.image)
        size_hw = (image.shape[0], image.shape[1])
        pen = timed_pen(item.narrative, size_hw)
        spoken = timed_words(item.narrative, size_hw) if words else []
        said.append(answer_pen(image, pen, spoken, engine, config).text)
        references.append(item.narrative.caption)
        progress(done)
    speakers = {MODEL: said, **trivial_speakers(items)}
    return {
        "narratives": len(items),
        "words_weigh_the_trace": words,
        "captions": {name: caption_figures(texts, references) for name, texts in speakers.items()},
        "trace_prediction": {"model": None, "reason": NO_TRACE, **_trivial_traces(items)},
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
    """BLEU-1 and 4, ROUGE-L and CIDEr-D, one reference each."""
    candidates = [tokenize(text) for text in said]
    truths = [[tokenize(text)] for text in references]
    orders = bleu(candidates, truths)
    pairs = zip(candidates, truths, strict=True)
    return {
        "bleu_1": orders[0],
        "bleu_4": orders[3],
        "rouge_l": float(np.mean([rouge_l(text, refs) for text, refs in pairs])),
        "cider_d": float(np.mean(cider_d(candidates, truths))),
    }


def _trivial_traces(items: Sequence[DrawnPicture]) -> dict[str, dict[str, float]]:
    """LBM (k = 0 and 1) of boxes that never look, mean over narratives with timed points."""
    truths = [boxes for item in items if len(boxes := word_boxes(item.narrative))]
    if not truths:
        return {}
    mean_box = np.concatenate(truths).mean(axis=0)
    found = {}
    for k in (0, 1):
        each = [trivial_baselines(truth, mean_box, k) for truth in truths]
        found[f"lbm_k{k}"] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return found
