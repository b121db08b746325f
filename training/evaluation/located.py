"""Searches in held-out scenes: the trace of the one object that a text describes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.answers import TraceAnswer, parse_trace
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray
from tracevlm_ros.evaluation.metrics.lbm import FULL_IMAGE, lbm, trivial_baselines
from training.data.categories import CATEGORIES, phrase
from training.data.photos import InstancePhotos, PhotoConfig
from training.data.sample import Instance, Sample
from training.data.synthetic import SyntheticConfig, SyntheticScenes
from training.data.templates import Task
from training.data.traces import draw_trace, simplify_trace
from training.evaluation.judging import LIVE_WEIGHT, Judge
from training.evaluation.scores import LocatedScores
from training.evaluation.synthetic import HELD_OUT_SEED
from training.finding import find_described

KEYPOINTS = 6
"""Most keypoints of a true trace, as in what is learned."""


class Searched(NamedTuple):
    """What was answered, and the object: its ``mask`` (S, S) and a trace (K, 2) over it in 0..1."""

    answer: TraceAnswer
    mask: BoolArray
    truth: FloatArray


def evaluate_located(judging: Judge, scenes: int) -> LocatedScores:
    """Ask for every visible object of ``scenes`` held-out scenes that no other one looks like."""
    return located_scores(list(_searches(judging, scenes)))


def _searches(judging: Judge, scenes: int) -> Iterator[Searched]:
    size = judging.side
    source = SyntheticScenes(SyntheticConfig(photo_background_share=0.0), size)
    for scene in range(scenes):
        rng = np.random.default_rng((HELD_OUT_SEED, scene))
        sample = source.sample(rng)
        sought = singular(sample)
        answers = _answers(judging, sample, [description for description, _ in sought])
        for answer, (_, item) in zip(answers, sought, strict=True):
            act = draw_trace(item.mask, rng)
            truth = simplify_trace(act, (size, size), LIVE_WEIGHT, KEYPOINTS).points
            yield Searched(answer, item.mask, truth)


def evaluate_located_photos(judging: Judge, folder: Path) -> LocatedScores:
    """Ask for every category in every held-out photo of ``folder`` (COCO form); all its objects
    of that category are right."""
    photos = InstancePhotos(folder, judging.side, PhotoConfig(), training=False)
    searched: list[Searched] = []
    for number, photo in enumerate(photos.photos):
        sample = photos.whole(photo)
        rng = np.random.default_rng((HELD_OUT_SEED, number))
        masks: dict[str, BoolArray] = {}
        for item in sample.instances:
            name = phrase(CATEGORIES[item.classes["category"]])
            masks[name] = masks.get(name, np.zeros_like(item.mask)) | item.mask
        answers = _answers(judging, sample, list(masks))
        for answer, mask in zip(answers, masks.values(), strict=True):
            act = draw_trace(mask, rng)
            truth = simplify_trace(act, mask.shape, LIVE_WEIGHT, KEYPOINTS).points
            searched.append(Searched(answer, mask, truth))
    return replace(located_scores(searched), data="located photos")


def _answers(judging: Judge, sample: Sample, texts: list[str]) -> list[TraceAnswer]:
    """By the model's map of words; by the traces that it writes, where it has none."""
    if not texts:
        return []
    if judging.model.word_map is not None:
        strokes = find_described(judging.model, sample.image_rgb, texts, judging.tokenizer)
        return [TraceAnswer(np.empty((0, 2)) if one is None else one, ()) for one in strokes]
    tokens = judging.look(sample.image_rgb)
    said = [judging.answer(tokens, Task.TRACE_FROM_CAPTION, text) for text in texts]
    return [parse_trace(text) for text in said]


def singular(sample: Sample) -> list[tuple[str, Instance]]:
    """Visible objects with a description that is no other one's."""
    described = [(item.answers[0][1], item) for item in sample.instances]
    counts = Counter(description for description, _ in described)
    return [pair for pair in described if counts[pair[0]] == 1]


def located_scores(searched: Sequence[Searched]) -> LocatedScores:
    """Raises InputError for no search at all."""
    if not searched:
        raise InputError("no object is the only one of its description; score more scenes")
    inside = np.array([share_inside(one.answer.points, one.mask) for one in searched])
    truths = [_boxes(one.truth) for one in searched]
    drawn = [
        _boxes(one.answer.points) if len(one.answer.points) else FULL_IMAGE[None]
        for one in searched
    ]
    mean_box = np.concatenate(truths).mean(axis=0)
    distances, trivial = {}, {}
    for k in (0, 1):
        pairs = zip(drawn, truths, strict=True)
        distances[f"k{k}"] = float(np.mean([lbm(boxes, truth, k) for boxes, truth in pairs]))
        each = [trivial_baselines(truth, mean_box, k) for truth in truths]
        trivial[f"k{k}"] = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return LocatedScores(
        objects=len(searched),
        points_inside=float(inside.mean()),
        object_area=float(np.mean([one.mask.mean() for one in searched])),
        found=float((inside >= 0.5).mean()),
        lbm=distances,
        lbm_trivial=trivial,
        format_failures=float(np.mean([bool(one.answer.problems) for one in searched])),
    )


def share_inside(points: FloatArray, mask: BoolArray) -> float:
    """Share of ``points`` (K, 2), 0..1 of the picture, on ``mask`` (H, W); 0 without a point."""
    if not len(points):
        return 0.0
    limit = np.array(mask.shape[::-1])
    columns, rows = np.minimum((points * limit).astype(np.int64), limit - 1).T
    return float(mask[rows, columns].mean())


def _boxes(points: FloatArray) -> FloatArray:
    return np.concatenate([points, points], axis=1)
