"""What a model loses in another precision: both engines on the same looks, side by side.

Held-out synthetic scenes have a truth; the frames of a calibration set only show whether the two
agree. Without samples there are no figures of a set. The engine writes no traces yet, so LBM
compares the boxes of the masks of one scene, look after look, with the boxes of the truth.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.types import BoolArray, FloatArray, Image
from tracevlm_ros.evaluation.benchmarks.scores import silent
from tracevlm_ros.evaluation.benchmarks.strokes import StillAnswer, answer_stroke
from tracevlm_ros.evaluation.benchmarks.synthetic import Look, looks
from tracevlm_ros.evaluation.metrics.lbm import lbm
from tracevlm_ros.evaluation.metrics.masks import overlap

MOST_LOSS = 0.01
"""Largest fall of the mean mask IoU that is accepted unasked: one point."""


class Pair(NamedTuple):
    """Answers of the exact and of the tried engine to one look."""

    look: Look
    exact: StillAnswer
    tried: StillAnswer


def compare_precisions(
    exact: Engine,
    tried: Engine,
    scenes: int,
    samples: Sequence[tuple[Image, TracePrompt]],
    progress: Callable[[int], None] = silent,
) -> dict[str, Any]:
    """Figures of both engines, and ``fall``: by how much the mean mask IoU against truth falls."""
    pairs = []
    for number, look in enumerate(looks(scenes), start=1):
        answers = (answer_stroke(look.image_rgb, look.trace_xyt, e) for e in (exact, tried))
        pairs.append(Pair(look, *answers))
        progress(number)
    truth = {
        "exact": _iou([(pair.exact.mask, pair.look.mask) for pair in pairs]),
        "tried": _iou([(pair.tried.mask, pair.look.mask) for pair in pairs]),
    }
    return {
        "looks": len(pairs),
        "mask_iou_against_truth": truth,
        "fall": truth["exact"] - truth["tried"],
        "mask_iou_against_exact": _iou([(pair.tried.mask, pair.exact.mask) for pair in pairs]),
        "captions_equal": _share(pair.exact.text == pair.tried.text for pair in pairs),
        "mask_box_lbm_k0": {
            "exact": _lbm([(pair.look, pair.exact.mask) for pair in pairs]),
            "tried": _lbm([(pair.look, pair.tried.mask) for pair in pairs]),
        },
        **({"set": _on_set(exact, tried, samples)} if samples else {}),
    }


def _on_set(
    exact: Engine, tried: Engine, samples: Sequence[tuple[Image, TracePrompt]]
) -> dict[str, Any]:
    """Agreement on frames without truth."""
    answers = [(_answer(exact, *sample), _answer(tried, *sample)) for sample in samples]
    return {
        "samples": len(answers),
        "mask_iou_against_exact": _iou([(two.mask, one.mask) for one, two in answers]),
        "captions_equal": _share(one.text == two.text for one, two in answers),
    }


def _answer(engine: Engine, image_rgb: Image, prompt: TracePrompt) -> StillAnswer:
    grounded = engine.ground(engine.encode(image_rgb), [prompt])
    *_, last = engine.describe(grounded, 0)
    (logits,) = engine.segment(grounded, [last.seg_embeddings])
    size_hw = engine.info.mask_size_hw
    mask = np.zeros(size_hw, dtype=bool) if logits is None else logits > 0
    return StillAnswer(mask, last.text, 0.0)


def _iou(pairs: Sequence[tuple[BoolArray, BoolArray]]) -> float:
    """Mean over the pairs; two empty masks agree."""
    return _share(
        overlap(one, other).iou if one.any() or other.any() else 1.0 for one, other in pairs
    )


def _share(values: Iterator[float] | Iterator[bool]) -> float:
    found = [float(value) for value in values]
    return float(np.mean(found)) if found else float("nan")


def _lbm(masks: Sequence[tuple[Look, BoolArray]]) -> float:
    """Mean over scenes; looks of one scene share its picture. An empty mask is the whole image."""
    scenes: dict[int, list[tuple[FloatArray, FloatArray]]] = {}
    for look, mask in masks:
        boxes = (_box(mask), _box(look.mask))
        scenes.setdefault(id(look.image_rgb), []).append(boxes)
    return _share(
        lbm(np.stack([found for found, _ in scene]), np.stack([true for _, true in scene]), 0)
        for scene in scenes.values()
    )


def _box(mask: BoolArray) -> FloatArray:
    """(x0, y0, x1, y1) in 0..1."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.array([0.0, 0.0, 1.0, 1.0])
    height, width = mask.shape
    box = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    return np.array(box)


def as_markdown(figures: dict[str, Any], precision: str, remarks: Sequence[str]) -> str:
    """The accuracy table as a page of its own."""
    truth, boxes = figures["mask_iou_against_truth"], figures["mask_box_lbm_k0"]
    rows = [
        ("mask IoU against truth", f"{truth['exact']:.4f}", f"{truth['tried']:.4f}"),
        ("mask IoU against fp32", "1", f"{figures['mask_iou_against_exact']:.4f}"),
        ("captions equal to fp32's", "1", f"{figures['captions_equal']:.4f}"),
        ("LBM (k=0) of mask boxes, lower is better", f"{boxes['exact']:.4f}",
         f"{boxes['tried']:.4f}"),
    ]  # fmt: skip
    samples = ""
    if on_set := figures.get("set"):
        samples = f" and the {on_set['samples']} samples of the calibration set"
        rows += [
            ("set: mask IoU against fp32", "1", f"{on_set['mask_iou_against_exact']:.4f}"),
            ("set: captions equal to fp32's", "1", f"{on_set['captions_equal']:.4f}"),
        ]
    table = "\n".join(f"| {name} | {one} | {other} |" for name, one, other in rows)
    return (
        f"# Accuracy in {precision}\n\n"
        f"Measured on {figures['looks']} looks at held-out synthetic scenes (`tracevlm bench "
        f"synthetic`){samples}.\n\n"
        f"| | fp32 | {precision} |\n|---|---|---|\n{table}\n"
        + "".join(f"\n{remark}\n" for remark in remarks)
    )
