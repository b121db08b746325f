"""The page: pictures and charts inline, one file, nothing loaded from anywhere."""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from tracevlm_ros.evaluation.evaluate import RecordingResult
from tracevlm_ros.evaluation.figures import Figure
from tracevlm_ros.evaluation.gallery import CASES, Picture
from tracevlm_ros.evaluation.metrics.grounding_recall import recall_curve
from tracevlm_ros.evaluation.report.charts import CurvePoint, binned_curve, curve, histogram
from tracevlm_ros.evaluation.report.document import Report
from tracevlm_ros.evaluation.samples import Samples

_TILES = (
    "j_and_f",
    "precision_50",
    "rouge_l",
    "cider_d",
    "word_recall",
    "point_in_mask",
    "first_mask_ms_p50",
    "caption_latency_ms_p50",
    "step_ms_p50",
)
_RECALL_POINTS = 21
_MOST_STRIPS = 12
_MOST_CAPTIONS = 80
_MOST_ATTENTION = 12
_MOST_ROWS = 80


class Chart(NamedTuple):
    title: str
    svg: str
    note: str


class TimingRow(NamedTuple):
    """Percentiles of one delay in milliseconds."""

    name: str
    p50: float
    p95: float
    p99: float


class Strip(NamedTuple):
    name: str
    pictures: Sequence[Picture]
    video: str | None


class Attention(NamedTuple):
    """Rows of one recording; ``left`` counts those that only report.json holds."""

    name: str
    dwell: Sequence[Mapping[str, Any]]
    transitions: Sequence[Mapping[str, Any]]
    left: int


def write_report(report: Report, folder: Path) -> Path:
    """Write ``report.html`` and ``report.json`` into ``folder``; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.document, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(render(report, folder), encoding="utf-8")
    return page


def render(report: Report, folder: Path) -> str:
    """The page as text; videos are linked relative to ``folder``."""
    environment = Environment(
        loader=PackageLoader("tracevlm_ros.evaluation", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["jpeg"] = _data_uri
    environment.filters["number"] = show_number
    figures = {figure.key: figure for figure in report.figures.figures}
    grouped = itertools.groupby(report.figures.figures, key=lambda figure: figure.group)
    timing = [figure for figure in report.figures.figures if figure.group == "Timing"]
    captions = [
        {**caption, "recording": recording["name"]}
        for recording in report.document["recordings"]
        for caption in recording["captions"]
    ]
    return environment.get_template("report.html").render(
        document=report.document,
        tiles=[figures[key] for key in _TILES if key in figures],
        groups=[(name, list(rows)) for name, rows in grouped if name != "Timing"],
        timing=_timing(timing),
        comparisons=report.comparisons,
        charts=_charts(report.samples),
        captions=captions[:_MOST_CAPTIONS],
        captions_left=max(0, len(captions) - _MOST_CAPTIONS),
        attention=_attention(report.document["recordings"]),
        cases=_cases(report.results),
        strips=_strips(report.results, folder),
        strips_left=max(0, len(report.results) - _MOST_STRIPS),
        span_s=sum(result.span_s for result in report.results),
    )


def show_number(value: float, unit: str = "") -> str:
    """Counts whole, milliseconds to a tenth below 100, shares and scores to three decimals."""
    if unit == "count":
        return f"{value:.0f}"
    if unit == "ms":
        return f"{value:.1f} ms" if abs(value) < 100 else f"{value:.0f} ms"
    return f"{value:.3f}"


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _timing(figures: Sequence[Figure]) -> list[TimingRow]:
    """Three figures in a row (p50, p95, p99) are one delay."""
    return [
        TimingRow(figures[at].name.rpartition(",")[0], *(one.value for one in figures[at : at + 3]))
        for at in range(0, len(figures), 3)
    ]


def _charts(samples: Samples) -> list[Chart]:
    charts = []
    if samples.masks:
        j = [sample.overlap.iou for sample in samples.masks]
        since = [sample.since_s for sample in samples.masks]
        curved = curve(binned_curve(since, j), "seconds since the trace's first mask", "J")
        charts += [
            Chart("Region J", histogram(j, "J", (0.0, 1.0)), "every object on every frame"),
            Chart("J over time", curved, "mean and quartiles"),
            Chart("Recall over IoU", _recall(j), "share of objects on frames that reach each IoU"),
        ]
    for title, values, note in (
        ("Time to first mask", samples.first_mask_ms, "from the first sample of the trace"),
        ("Time to first words", samples.first_caption_ms, "from the first sample of the trace"),
        ("Caption latency", samples.caption_latency_ms, "from the camera's stamp, live"),
        ("Fast path", samples.step_ms, "wall time per frame on this machine"),
        ("Slow path", samples.describe_ms, "wall time per frame that asks, on this machine"),
    ):
        if values:
            charts.append(Chart(title, histogram(values, "ms"), note))
    return charts


def _recall(ious: Sequence[float]) -> str:
    found = recall_curve(ious, points=_RECALL_POINTS)
    each = zip(found.threshold, found.recall, strict=True)
    points = [CurvePoint(float(x), float(y), float(y), float(y)) for x, y in each]
    return curve(points, "IoU", "recall")


def _attention(recordings: Sequence[Mapping[str, Any]]) -> list[Attention]:
    """The first recordings in which anything was looked at; stamps in seconds from the first
    frame."""
    shown = []
    for recording in recordings:
        times = recording["attention"]
        if times is None or not times["dwell"]:
            continue
        transitions = [
            {**row, "at_s": (row["stamp_ns"] - recording["start_ns"]) / 1e9}
            for row in times["transitions"]
        ]
        left = sum(max(0, len(rows) - _MOST_ROWS) for rows in (times["dwell"], transitions))
        rows = times["dwell"][:_MOST_ROWS], transitions[:_MOST_ROWS]
        shown.append(Attention(recording["name"], *rows, left))
    return shown[:_MOST_ATTENTION]


def _cases(results: Sequence[RecordingResult]) -> dict[str, list[Picture]]:
    """The best and the worst frames of all recordings, one per object and end."""
    best = [_named(result, picture, results) for result in results for picture in result.cases.best]
    worst = [
        _named(result, picture, results) for result in results for picture in result.cases.worst
    ]
    best.sort(key=lambda picture: -picture.value)
    worst.sort(key=lambda picture: picture.value)
    return {"Best": best[:CASES], "Worst": worst[:CASES]}


def _named(
    result: RecordingResult, picture: Picture, results: Sequence[RecordingResult]
) -> Picture:
    if len(results) == 1:
        return picture
    return picture._replace(note=f"{result.name}, {picture.note}")


def _strips(results: Sequence[RecordingResult], folder: Path) -> list[Strip]:
    return [
        Strip(result.name, result.strip, _relative(result.overlay, folder))
        for result in results[:_MOST_STRIPS]
        if result.strip
    ]


def _relative(path: Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    inside, root = path.resolve(), folder.resolve()
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else None
