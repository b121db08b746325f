"""Scores of an ablation: free answers about held-out scenes, against what was to be said."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from tracevlm_ros.core.answers import TextAnswer, TraceAnswer
from tracevlm_ros.core.types import FloatArray
from tracevlm_ros.evaluation.metrics.bleu import bleu
from tracevlm_ros.evaluation.metrics.lbm import FULL_IMAGE, lbm
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize
from tracevlm_ros.synthetic.words import parse_description
from training.answering import Answerer, Said
from training.data.messages import Branch, MessageTree
from training.data.templates import TEMPLATES, Task

ASKED = (Task.TRACE_CAPTION.value, Task.TRACE_FROM_CAPTION.value, Task.ASK.value)
LONGEST = 320  # tokens of an answer: 24 keypoints take 11 each
ATTRIBUTES = ("size", "texture", "colour", "shape")


def scores_of(
    answerer: Answerer, trees: list[MessageTree], asked: Sequence[str]
) -> dict[str, float]:
    """Of every branch of each task, but of one trace a tree, since traces are long."""
    said: dict[str, list[tuple[Branch, Said]]] = {task: [] for task in ASKED}
    for tree in trees:
        for task in asked:
            branches = [branch for branch in tree.branches if branch.task.value == task]
            for branch in branches[: 1 if task == Task.TRACE_FROM_CAPTION.value else None]:
                alone = branch._replace(exchanges=branch.exchanges[:1])
                images = tree.images if branch.images is None else branch.images
                with torch.no_grad():
                    said[task].append((alone, answerer.answer(images, alone)))
    captions, traces, answers = (said[task] for task in ASKED)
    texts = [(branch.exchanges[0].answer, _text(found)) for branch, found in captions]
    every = [found for pairs in said.values() for _, found in pairs]
    return {
        "bleu4": 100 * bleu([tokenize(b) for _, b in texts], [[tokenize(a)] for a, _ in texts])[3],
        "attributes": 100 * statistics.fmean(right_attributes(a, b) for a, b in texts),
        "lbm0": _mean(trace_distance(b, s, 0) for b, s in traces),
        "lbm1": _mean(trace_distance(b, s, 1) for b, s in traces),
        "answers": _share(_text(s) == b.exchanges[0].answer for b, s in answers),
        "malformed": _share(bool(found.parsed.problems) for found in every),
    }


def _share(right: Iterable[bool]) -> float:
    """Per cent; NaN of nothing."""
    return 100 * _mean(right)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else float("nan")


def right_attributes(truth: str, said: str) -> float:
    """Share of size, texture, colour and shape of the pointed object that ``said`` has."""
    wanted, found = parse_description(truth), parse_description(said)
    if wanted is None or found is None:
        return 0.0
    return statistics.fmean(getattr(wanted, a) == getattr(found, a) for a in ATTRIBUTES)


def trace_distance(branch: Branch, said: Said, k: int) -> float:
    truth = TEMPLATES[Task.TRACE_FROM_CAPTION].parse(branch.exchanges[0].answer)
    if not isinstance(truth, TraceAnswer) or not isinstance(said.parsed, TraceAnswer):
        raise TypeError("a trace is answered with a trace")
    drawn = _boxes(said.parsed.points) if len(said.parsed.points) else FULL_IMAGE[None]
    return lbm(drawn, _boxes(truth.points), k)


def _boxes(points: FloatArray) -> FloatArray:
    return np.concatenate([points, points], axis=1)


def _text(said: Said) -> str:
    return said.parsed.text if isinstance(said.parsed, TextAnswer) else said.text
