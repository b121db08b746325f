"""The report as plain values: what stands in report.json, and what the page is made of."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tracevlm_ros
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.attention_times import AttentionTimes
from tracevlm_ros.evaluation.evaluate import RecordingResult
from tracevlm_ros.evaluation.figures import (
    Figure,
    Figures,
    caption_caveat,
    caption_scores,
    make_figures,
)
from tracevlm_ros.evaluation.metrics.judge import JudgeConfig
from tracevlm_ros.evaluation.samples import Samples

FORMAT = 1
_SAME = 5e-4
"""Changes that the page would show as 0.000 are no change."""


class Comparison(NamedTuple):
    """One figure here and in another report; ``verdict`` 1 better here, -1 worse, 0 neither."""

    name: str
    unit: str
    here: float
    there: float
    verdict: int


class Report(NamedTuple):
    """``document`` is report.json; the rest is what the page needs beside it."""

    document: dict[str, Any]
    samples: Samples
    figures: Figures
    results: Sequence[RecordingResult]
    comparisons: tuple[Comparison, ...]


def make_report(
    results: Sequence[RecordingResult],
    title: str,
    compare: Path | None = None,
    judge: JudgeConfig | None = None,
    *,
    with_java: bool = True,
) -> Report:
    """Pool the recordings and compute every figure, of all together and of each.

    Raises InputError when ``compare`` is no report.json.
    """
    other = None if compare is None else read_document(compare)
    pooled = Samples()
    for result in results:
        pooled.pour(result.samples)
    figures = make_figures(pooled, judge, with_java=with_java)
    document = {
        "format": FORMAT,
        "title": title,
        "tracevlm_ros": tracevlm_ros.__version__,
        "kinds": sorted({result.kind for result in results}),
        "models": sorted({result.model_id for result in results if result.model_id}),
        "figures": _figure_values(figures.figures),
        "left_out": figures.left_out,
        "caveat": caption_caveat(pooled),
        "drops": dict(sorted(pooled.drops.items())),
        "recordings": [_recording(result) for result in results],
    }
    comparisons = () if other is None else _compare(figures, other)
    return Report(document, pooled, figures, results, comparisons)


def read_document(path: Path) -> dict[str, Any]:
    """A report.json of an earlier run. Raises InputError when it is none."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = document["format"], document["figures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no report.json of 'tracevlm evaluate': {type(error).__name__}: {error}"
        ) from error
    if found[0] != FORMAT:
        raise InputError(f"{path} has format {found[0]}; this version reads format {FORMAT}")
    return document


def _figure_values(figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        figure.key: {"name": figure.name, "value": figure.value, "unit": figure.unit}
        for figure in figures
    }


def _recording(result: RecordingResult) -> dict[str, Any]:
    figures = make_figures(result.samples, with_java=False)
    captions = result.samples.captions
    return {
        "name": result.name,
        "path": str(result.path),
        "model": result.model_id,
        "error": result.error,
        "notes": result.notes,
        "missing_ground_truth": list(result.missing_truth),
        "start_ns": result.start_ns,
        "span_s": result.span_s,
        "wall_s": round(result.wall_s, 3),
        "figures": figures.values(),
        "drops": dict(sorted(result.samples.drops.items())),
        "captions": [
            {
                "label": sample.label,
                "trace_id": sample.trace_id,
                "said": sample.text,
                "references": list(sample.references),
                "score": round(sample.score, 4),
                "rouge_l": round(scores["rouge_l"], 4),
                "cider_d": round(scores["cider_d"], 4),
            }
            for sample, scores in zip(captions, caption_scores(captions), strict=True)
        ],
        "attention": None if result.attention is None else _attention(result.attention),
    }


def _attention(times: AttentionTimes) -> dict[str, Any]:
    return {
        "dwell": [{**one._asdict(), "dwell_s": round(one.dwell_s, 3)} for one in times.looked],
        "transitions": [
            {**one._asdict(), "gap_s": round(one.gap_s, 3)} for one in times.transitions
        ],
    }


def _compare(figures: Figures, other: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Figures that both have, in the order of this report; counts are left out."""
    rows = []
    for figure in figures.figures:
        theirs = other["figures"].get(figure.key)
        if theirs is None or figure.group == "Counts":
            continue
        there = float(theirs["value"])
        change = figure.value - there
        is_same = math.isclose(figure.value, there, rel_tol=0.0, abs_tol=_SAME)
        verdict = 0 if is_same else int(math.copysign(1, change)) * figure.better
        rows.append(Comparison(figure.name, figure.unit, figure.value, there, verdict))
    return tuple(rows)
