"""Samples into figures: every number of the report, with its unit, its group and its direction."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tracevlm_ros.evaluation.metrics import java_scorers
from tracevlm_ros.evaluation.metrics.bleu import bleu
from tracevlm_ros.evaluation.metrics.cider import cider_d
from tracevlm_ros.evaluation.metrics.grounding_recall import recall_curve
from tracevlm_ros.evaluation.metrics.judge import JudgeConfig
from tracevlm_ros.evaluation.metrics.judge import judge as marked
from tracevlm_ros.evaluation.metrics.masks import cumulative_iou, mean_iou, precision_at
from tracevlm_ros.evaluation.metrics.rouge_l import rouge_l
from tracevlm_ros.evaluation.metrics.timing import percentiles
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize
from tracevlm_ros.evaluation.metrics.word_recall import word_recall
from tracevlm_ros.evaluation.samples import CaptionSample, Samples

_SMALL_CORPUS = 20
_OTHER_RUN = "not measured in this kind of run"


class Figure(NamedTuple):
    """``better`` is 1 when higher is better, -1 when lower is, 0 when neither."""

    key: str
    name: str
    group: str
    value: float
    unit: str = ""
    better: int = 0


class Figures(NamedTuple):
    """``left_out``: metric -> why it has no value. No figure is NaN."""

    figures: tuple[Figure, ...]
    left_out: dict[str, str]

    def values(self) -> dict[str, float]:
        return {figure.key: figure.value for figure in self.figures}


def make_figures(
    samples: Samples, judge: JudgeConfig | None = None, *, with_java: bool = True
) -> Figures:
    """All figures of one or several recordings; METEOR and SPICE only ``with_java``,
    marks only with a ``judge``."""
    left_out: dict[str, str] = {}
    made = [
        *_mask_figures(samples, left_out),
        *_caption_figures(samples, left_out, with_java=with_java),
        *_judge_figures(samples, judge, left_out),
        *_behaviour_figures(samples, left_out),
        *_timing_figures(samples, left_out),
        *_counts(samples),
    ]
    left_out["LBM k=0, k=1"] = "traces are given here, not predicted (see: tracevlm bench vidln)"
    return Figures(tuple(figure for figure in made if math.isfinite(figure.value)), left_out)


def _mask_figures(samples: Samples, left_out: dict[str, str]) -> list[Figure]:
    names = ("J mean", "F mean", "J&F", "cIoU", "gIoU", "P@0.5")
    if not samples.masks:
        left_out.update(dict.fromkeys(names, _why_no_masks(samples)))
        return []
    overlaps = [sample.overlap for sample in samples.masks]
    by_object: dict[int, list[float]] = {}
    for sample in samples.masks:
        by_object.setdefault(sample.label, []).append(sample.overlap.iou)
    j = mean_iou(overlaps)
    f = float(np.mean([sample.boundary_f for sample in samples.masks]))
    group = "Masks"
    recall = recall_curve([one.iou for one in overlaps]).average
    return [
        Figure("j_and_f", "J&F", group, (j + f) / 2, better=1),
        Figure("j_mean", "J mean (= gIoU)", group, j, better=1),
        Figure("f_mean", "F mean", group, f, better=1),
        Figure("ciou", "cIoU", group, cumulative_iou(overlaps), better=1),
        Figure("precision_50", "P@0.5", group, precision_at(overlaps, 0.5), better=1),
        Figure("average_recall", "Average recall over IoU", group, recall, better=1),
        Figure("mask_samples", "Objects × frames scored", group, len(overlaps), "count"),
    ]


def _why_no_masks(samples: Samples) -> str:
    if samples.frames_with_truth:
        return "no mask is about a known object"
    if samples.truth_masks:
        return f"{samples.truth_masks} ground truth masks, none has the stamp of a frame"
    return "no ground truth masks"


def caption_scores(captions: Iterable[CaptionSample]) -> list[dict[str, float]]:
    """ROUGE-L and CIDEr-D of each caption; the latter with these captions as its corpus."""
    candidates, references = _tokenised(captions)
    each = zip(candidates, references, cider_d(candidates, references), strict=True)
    return [{"rouge_l": rouge_l(said, refs), "cider_d": cider} for said, refs, cider in each]


def _tokenised(
    captions: Iterable[CaptionSample],
) -> tuple[list[list[str]], list[list[list[str]]]]:
    captions = list(captions)
    candidates = [tokenize(sample.text) for sample in captions]
    return candidates, [[tokenize(text) for text in one.references] for one in captions]


def _caption_figures(
    samples: Samples, left_out: dict[str, str], *, with_java: bool
) -> list[Figure]:
    names = ("BLEU-1..4", "ROUGE-L", "CIDEr-D", "METEOR 1.5", "SPICE")
    if not samples.captions:
        missed = samples.visits_not_reached
        reason = (
            f"no frame reached any of {missed} visits" if missed else "no ground truth captions"
        )
        left_out.update(dict.fromkeys(names, reason))
        return []
    candidates, references = _tokenised(samples.captions)
    scores = caption_scores(samples.captions)
    recalls = [word_recall(said, refs) for said, refs in zip(candidates, references, strict=True)]
    exact = [said in refs for said, refs in zip(candidates, references, strict=True)]
    group = "Captions"
    made = [
        Figure(f"bleu_{n}", f"BLEU-{n}", group, value, better=1)
        for n, value in enumerate(bleu(candidates, references), start=1)
    ]
    for key, name in (("rouge_l", "ROUGE-L"), ("cider_d", "CIDEr-D")):
        mean = float(np.mean([score[key] for score in scores]))
        made.append(Figure(key, name, group, mean, better=1))
    recall = float(np.mean(recalls))
    made.append(Figure("word_recall", "Reference words said", group, recall, better=1))
    made.append(Figure("exact", "Word for word", group, float(np.mean(exact)), better=1))
    described = samples.visits_described / samples.visits
    made.append(Figure("described", "Visits described", group, described, better=1))
    for key, name, scorer in (
        ("meteor", "METEOR 1.5", java_scorers.meteor),
        ("spice", "SPICE", java_scorers.spice),
    ):
        outcome = scorer(candidates, references) if with_java else java_scorers.NotRun("not asked")
        if isinstance(outcome, java_scorers.NotRun):
            left_out[name] = f"not run: {outcome.reason}"
        else:
            made.append(Figure(key, name, group, outcome, better=1))
    return made


def caption_caveat(samples: Samples) -> str | None:
    """What to keep in mind when few captions were scored."""
    count = len(samples.captions)
    if not 0 < count < _SMALL_CORPUS:
        return None
    return (
        f"Only {count} captions: BLEU and CIDEr-D of so few are noisy, and CIDEr-D takes its word "
        "rarity from these references alone, so it does not compare with other data."
    )


def _judge_figures(
    samples: Samples, config: JudgeConfig | None, left_out: dict[str, str]
) -> list[Figure]:
    name = "Marks of a judge (VideoRefer)"
    if config is None or not samples.captions:
        left_out[name] = "no judge was asked (--judge)" if config is None else "no captions"
        return []
    judged = marked([(one.text, one.references) for one in samples.captions], config)
    if judged.reasons:
        left_out[f"{name} of {len(judged.reasons)} captions"] = judged.reasons[0]
    return [
        Figure(f"judge_{column}", f"Judge: {column} (0 to 5)", "Captions", mean, better=1)
        for column, mean in judged.means().items()
    ]


def _behaviour_figures(samples: Samples, left_out: dict[str, str]) -> list[Figure]:
    group, made = "Behaviour", []
    if samples.points:
        share = samples.points_in_mask / samples.points
        made.append(Figure("point_in_mask", "Keypoints inside own mask", group, share, better=1))
    else:
        left_out["Keypoints inside own mask"] = "no mask together with keypoints"
    if samples.flickers:
        flicker = float(np.mean(samples.flickers))
        made.append(Figure("flicker", "Flicker (1 - IoU of successive)", group, flicker, better=-1))
    else:
        left_out["Flicker"] = "no trace had masks on two successive frames"
    if samples.gap_shares:
        gaps = float(np.mean(samples.gap_shares))
        made.append(Figure("gap_share", "Frames missing inside a track", group, gaps, better=-1))
    return made


def _timing_figures(samples: Samples, left_out: dict[str, str]) -> list[Figure]:
    group, made = "Timing", []
    rows = (
        ("first_mask", "Time to first mask", samples.first_mask_ms, "no trace got a mask"),
        ("first_caption", "Time to first words", samples.first_caption_ms, "no trace got words"),
        ("caption_latency", "Caption latency (live)", samples.caption_latency_ms, _OTHER_RUN),
        ("step", "Fast path per frame", samples.step_ms, _OTHER_RUN),
        ("describe", "Slow path per frame that asks", samples.describe_ms, _OTHER_RUN),
    )
    for key, name, values, why_none in rows:
        if not values:
            left_out[name] = why_none
            continue
        found = percentiles(values)
        for part in ("p50", "p95", "p99"):
            value = getattr(found, part)
            made.append(Figure(f"{key}_ms_{part}", f"{name}, {part}", group, value, "ms", -1))
    return made


def _counts(samples: Samples) -> list[Figure]:
    group = "Counts"
    rows = (
        ("frames", "Frames", samples.frames, 0),
        ("frames_with_masks", "Frames answered", samples.frames_with_masks, 0),
        ("traces", "Traces", samples.traces, 0),
        ("traces_without_object", "Traces about no object", samples.traces_without_object, -1),
        ("visits", "Visits in the ground truth", samples.visits, 0),
        ("visits_not_reached", "Visits that no frame reached", samples.visits_not_reached, -1),
    )
    return [
        Figure(key, name, group, float(value), "count", better) for key, name, value, better in rows
    ]
