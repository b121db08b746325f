"""Strokes on photos that training never saw: masks at the photo's own size, categories named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.core.preprocess import fit_image
from training.data.categories import CATEGORIES, phrase
from training.data.photos_on_disk import fill, read_instances, read_photo
from training.data.sample import TraceTarget
from training.evaluation.closer import look_closer
from training.evaluation.judging import Judge, Judged, judge, mask_scores
from training.evaluation.scores import PhotoScores

_PHRASES = frozenset(phrase(category) for category in CATEGORIES)


def evaluate_strokes(judging: Judge, folder: Path) -> PhotoScores:
    """``strokes.json`` of a held-out folder: annotation id -> [[x, y, t], ...]."""
    document = read_instances(folder)
    strokes = _read_strokes(folder)
    names = {category["id"]: category["name"] for category in document["categories"]}
    images = {image["id"]: image for image in document["images"]}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        if str(annotation["id"]) in strokes:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    found: list[Judged] = []
    per_category: dict[str, list[int]] = {}
    for image_id, annotations in by_image.items():
        image = read_photo(folder / "images" / images[image_id]["file_name"])
        size_hw = (image.shape[0], image.shape[1])
        targets = [TraceTarget(strokes[str(a["id"])]) for a in annotations]
        prompts = [judging.prompt(target, size_hw) for target in targets]
        described = judging.describe(fit_image(image, (judging.side, judging.side)), prompts)
        closer = [look_closer(judging, image, prompt) for prompt in prompts]
        for annotation, one, near in zip(annotations, described, closer, strict=True):
            outlines = [np.array(o, np.float64).reshape(-1, 2) for o in annotation["segmentation"]]
            judged = judge(one, fill(outlines, size_hw), near)
            found.append(judged)
            name = names[annotation["category_id"]]
            tally = per_category.setdefault(name, [0, 0])
            tally[0] += judged.text == phrase(name)
            tally[1] += 1
    return _scores(judging.order, found, per_category)


def _scores(order: str, found: Sequence[Judged], per_category: dict[str, list[int]]) -> PhotoScores:
    others = [tally for name, tally in per_category.items() if name != "person"]
    failures = sum(one.failed or one.text not in _PHRASES for one in found)
    return PhotoScores(
        strokes=len(found),
        order=order,
        masks=mask_scores(found),
        category_top1=sum(t[0] for t in per_category.values()) / len(found),
        category_top1_not_person=sum(t[0] for t in others) / max(1, sum(t[1] for t in others)),
        format_failures=failures / len(found),
        per_category=dict(sorted(per_category.items(), key=lambda item: -item[1][1])),
    )


def _read_strokes(folder: Path) -> dict[str, np.ndarray]:
    content = json.loads((folder / "strokes.json").read_text(encoding="utf-8"))
    return {key: np.array(points, np.float64) for key, points in content.items()}
