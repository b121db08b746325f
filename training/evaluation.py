"""Scores by free generation on held-out data: scenes of other seeds, strokes on other photos."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from tokenizers import Tokenizer

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.prompt import PromptLayout
from tracevlm_ros.synthetic import vocabulary
from tracevlm_ros.synthetic.attention import dwell, scribble
from tracevlm_ros.synthetic.words import parse_description
from training.checkpoint import load_checkpoint
from training.data.batch import trace_batch
from training.data.categories import CATEGORIES, phrase
from training.data.photos import fill, read_instances, read_photo
from training.data.sample import PATCH_CLASSES, Instance, TraceTarget
from training.data.synthetic import SyntheticConfig, SyntheticScenes
from training.data.traces import simplify_trace
from training.generation import Described, PromptedTraces, describe_and_segment
from training.model.tracevlm import TraceVLM
from training.settings import TrainConfig
from training.tokenizer import load_tokenizer, prompt_layout

HELD_OUT_SEED = 1_000_003
LIVE_WEIGHT = 0.5
ATTRIBUTES = ("size", "texture", "colour", "shape")


class Scores(Protocol):
    def as_mapping(self) -> dict[str, Any]: ...

    def as_line(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticScores:
    """Shares of ``traces`` traces; a format failure counts as wrong and as IoU 0."""

    traces: int
    size: float
    texture: float
    colour: float
    shape: float
    all_attributes: float
    mask_iou: float
    mask_iou_strokes: float
    mask_iou_gaze: float
    format_failures: float

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "synthetic", **asdict(self)}

    def as_line(self) -> str:
        return (
            f"synthetic ({self.traces} traces): size {self.size:.3f} texture {self.texture:.3f} "
            f"colour {self.colour:.3f} shape {self.shape:.3f} all {self.all_attributes:.3f} | "
            f"mask IoU {self.mask_iou:.3f} (strokes {self.mask_iou_strokes:.3f}, gaze "
            f"{self.mask_iou_gaze:.3f}) | format failures {self.format_failures:.3f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoScores:
    """``per_category``: category -> [named right, strokes]."""

    strokes: int
    mask_iou: float
    category_top1: float
    category_top1_not_person: float
    format_failures: float
    per_category: dict[str, list[int]] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "photos", **asdict(self)}

    def as_line(self) -> str:
        return (
            f"photos ({self.strokes} strokes): mask IoU {self.mask_iou:.3f} | category top-1 "
            f"{self.category_top1:.3f} (not persons {self.category_top1_not_person:.3f}) | "
            f"format failures {self.format_failures:.3f}"
        )


class _Judged(NamedTuple):
    text: str
    failed: bool
    iou: float


def evaluate_checkpoint(
    path: Path, scenes: int, strokes: Path | None = None
) -> dict[str, SyntheticScores | PhotoScores]:
    """Load ``path`` and score it; photos only where a folder with strokes is given."""
    checkpoint = load_checkpoint(path)
    model = TraceVLM(TrainConfig.of_mapping(checkpoint.config).model_config(), PATCH_CLASSES)
    model.load_state_dict(checkpoint.weights)
    model.eval()
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    scores: dict[str, SyntheticScores | PhotoScores] = {
        "synthetic": evaluate_synthetic(model, tokenizer, layout, scenes)
    }
    if strokes is not None:
        scores["photos"] = evaluate_strokes(model, tokenizer, layout, strokes)
    return scores


def evaluate_synthetic(
    model: TraceVLM, tokenizer: Tokenizer, layout: PromptLayout, scenes: int
) -> SyntheticScores:
    """Point at every visible object of held-out scenes, by stroke or gaze in turn."""
    size = model.config.vision.image_size
    source = SyntheticScenes(SyntheticConfig(photo_background_share=0.0), size)
    right: Counter[str] = Counter()
    ious: dict[bool, list[float]] = {True: [], False: []}
    failures = 0
    for scene in range(scenes):
        rng = np.random.default_rng((HELD_OUT_SEED, scene))
        sample = source.sample(rng)
        by_stroke = scene % 2 == 0
        act = scribble if by_stroke else dwell
        prompts = [
            _prompt(TraceTarget(act(i.mask, rng)), (size, size), model) for i in sample.instances
        ]
        found = _describe(model, sample.image_rgb, prompts, tokenizer, layout)
        for item, described in zip(sample.instances, found, strict=True):
            judged = _judge(described, item.mask)
            ious[by_stroke].append(judged.iou)
            correct = _right_attributes(judged.text, item)
            right.update(correct)
            right["all"] += len(correct) == len(ATTRIBUTES)
            failures += judged.failed or parse_description(judged.text) is None
    count = sum(len(values) for values in ious.values())
    return SyntheticScores(
        traces=count,
        **{name: right[name] / count for name in ATTRIBUTES},
        all_attributes=right["all"] / count,
        mask_iou=float(np.mean(ious[True] + ious[False])),
        mask_iou_strokes=float(np.mean(ious[True])),
        mask_iou_gaze=float(np.mean(ious[False] or [0.0])),
        format_failures=failures / count,
    )


def evaluate_strokes(
    model: TraceVLM, tokenizer: Tokenizer, layout: PromptLayout, folder: Path
) -> PhotoScores:
    """``strokes.json`` of a held-out folder: annotation id -> [[x, y, t], ...]; masks at the
    photo's own resolution."""
    document = read_instances(folder)
    strokes = _read_strokes(folder)
    names = {category["id"]: category["name"] for category in document["categories"]}
    images = {image["id"]: image for image in document["images"]}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        if str(annotation["id"]) in strokes:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    ious, failures = [], 0
    per_category: dict[str, list[int]] = {}
    for image_id, annotations in by_image.items():
        image = read_photo(folder / "images" / images[image_id]["file_name"])
        size_hw = (image.shape[0], image.shape[1])
        targets = [TraceTarget(strokes[str(a["id"])]) for a in annotations]
        prompts = [_prompt(target, size_hw, model) for target in targets]
        side = model.config.vision.image_size
        found = _describe(model, fit_image(image, (side, side)), prompts, tokenizer, layout)
        for annotation, described in zip(annotations, found, strict=True):
            outlines = [np.array(o, np.float64).reshape(-1, 2) for o in annotation["segmentation"]]
            judged = _judge(described, fill(outlines, size_hw))
            ious.append(judged.iou)
            name = names[annotation["category_id"]]
            tally = per_category.setdefault(name, [0, 0])
            tally[0] += judged.text == phrase(name)
            tally[1] += 1
            failures += judged.failed or judged.text not in _PHRASES
    return _photo_scores(ious, per_category, failures)


def _photo_scores(
    ious: Sequence[float], per_category: dict[str, list[int]], failures: int
) -> PhotoScores:
    others = [tally for name, tally in per_category.items() if name != "person"]
    return PhotoScores(
        strokes=len(ious),
        mask_iou=float(np.mean(ious)),
        category_top1=sum(t[0] for t in per_category.values()) / len(ious),
        category_top1_not_person=sum(t[0] for t in others) / max(1, sum(t[1] for t in others)),
        format_failures=failures / len(ious),
        per_category=dict(sorted(per_category.items(), key=lambda item: -item[1][1])),
    )


def _read_strokes(folder: Path) -> dict[str, np.ndarray]:
    content = json.loads((folder / "strokes.json").read_text(encoding="utf-8"))
    return {key: np.array(points, np.float64) for key, points in content.items()}


def _prompt(target: TraceTarget, size_hw: tuple[int, int], model: TraceVLM) -> TracePrompt:
    return simplify_trace(target, size_hw, LIVE_WEIGHT, model.config.tvp.max_keypoints)


def _describe(
    model: TraceVLM,
    image_rgb: np.ndarray,
    prompts: Sequence[TracePrompt],
    tokenizer: Tokenizer,
    layout: PromptLayout,
) -> list[Described]:
    batch = trace_batch(prompts, model.config.tvp.max_keypoints)
    traces = PromptedTraces(batch, tuple(len(prompt.points) for prompt in prompts))
    return describe_and_segment(model, image_rgb, traces, tokenizer, layout)


def _judge(described: Described, mask: np.ndarray) -> _Judged:
    """Logits are resized bilinearly to the mask's size and cut at 0."""
    if described.mask_logits is None:
        return _Judged(described.answer.text, True, 0.0)
    height, width = mask.shape
    shown = cv2.resize(described.mask_logits, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    both, either = int((shown & mask).sum()), int((shown | mask).sum())
    return _Judged(described.answer.text, False, both / max(1, either))


def _right_attributes(text: str, item: Instance) -> list[str]:
    said = parse_description(text)
    if said is None:
        return []
    words = {
        "size": vocabulary.SIZES[item.classes["size"]],
        "texture": vocabulary.TEXTURES[item.classes["texture"]],
        "colour": vocabulary.COLOURS[item.classes["colour"]],
        "shape": vocabulary.SHAPES[item.classes["shape"] - 1],
    }
    return [name for name in ATTRIBUTES if getattr(said, name) == words[name]]


_PHRASES = frozenset(phrase(category) for category in CATEGORIES)
