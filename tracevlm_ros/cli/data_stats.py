"""Points, strokes, compression and error of recorded traces, under both metrics.

Each PATH is a (Video) Localized Narratives file or a gaze recording. A stroke ends where the pen
is lifted, gaze is lost, or no sample came for --gap-ms. The error is the Hausdorff distance from
the trace to the polyline of its keypoints: how far the farthest point of a stroke is from it.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.simplify import simplify, warm_up
from tracevlm_ros.core.types import FloatArray, GazeSample, PenState
from tracevlm_ros.ingest.gaze_recordings import GazeRecording, open_gaze
from tracevlm_ros.ingest.localized_narratives import (
    is_narratives,
    pointer_samples,
    read_narratives,
)

METRICS = ("segment", "line")


class Stroke(NamedTuple):
    """``xy_px`` (N, 2) and ``stamp_ns`` of samples without a lift or a gap between them."""

    xy_px: FloatArray
    stamps_ns: list[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--size", default="1280x720", help="scene, WIDTHxHEIGHT in pixels")
    parser.add_argument("--tolerance", type=float, default=5.0, help="pixels")
    parser.add_argument("--gap-ms", type=float, default=100.0, help="a longer silence ends gaze")
    parser.add_argument("--min-confidence", type=float, default=0.6, help="below: gaze is lost")
    parser.add_argument("--json", action="store_true", help="print machine-readable results")


def run(arguments: argparse.Namespace) -> int:
    """Read, simplify and print one row for each path."""
    size_hw = _size_hw(arguments.size)
    warm_up()
    rows = []
    for path in arguments.paths:
        recording, drops = open_gaze(path), Drops()
        strokes: list[Stroke] = []
        for samples in _parts(recording, size_hw):
            strokes += strokes_of(samples, arguments.gap_ms, arguments.min_confidence, drops)
        if not strokes:
            raise InputError(f"{path} has no sample with a position and enough confidence")
        row = statistics_of(strokes, arguments.tolerance)
        rows.append({"path": path.name, "form": recording.form, "drops": dict(drops), **row})
    print(json.dumps(rows, indent=2) if arguments.json else _as_table(rows, arguments.tolerance))
    return 0


def _parts(recording: GazeRecording, size_hw: tuple[int, int]) -> Iterator[Iterator[GazeSample]]:
    """The samples of each narrative, or those of the one recording."""
    if is_narratives(recording.path):
        for narrative in read_narratives(recording.path):
            yield pointer_samples(narrative, size_hw)
    else:
        yield recording.samples(size_hw)


def strokes_of(
    samples: Iterable[GazeSample], gap_ms: float, min_confidence: float, drops: Drops
) -> Iterator[Stroke]:
    """Part ``samples`` into strokes: at a lift of the pen, or at ``gap_ms`` without a sample where
    the device knows no pen (a pointer at rest sends nothing). What has no position, too little
    confidence or a stamp that does not rise is left out and counted in ``drops``."""
    points: list[tuple[float, float]] = []
    stamps: list[int] = []
    for sample in samples:
        reason = _reason_to_drop(sample, stamps, min_confidence)
        if sample.pen is not PenState.UP and reason:
            drops[reason] += 1
            continue
        silent = sample.pen is PenState.UNKNOWN and bool(stamps)
        late = silent and sample.stamp_ns - stamps[-1] > gap_ms * 1e6
        if points and (late or sample.pen is PenState.UP):
            yield Stroke(np.array(points), stamps)
            points, stamps = [], []
        if sample.pen is not PenState.UP:
            points.append((sample.x_px, sample.y_px))
            stamps.append(sample.stamp_ns)
    if points:
        yield Stroke(np.array(points), stamps)


def _reason_to_drop(sample: GazeSample, stamps: list[int], min_confidence: float) -> str:
    if not (np.isfinite(sample.x_px) and np.isfinite(sample.y_px)):
        return "gaze_without_position"
    if sample.confidence < min_confidence:
        return "gaze_unsure"
    return "gaze_out_of_order" if stamps and sample.stamp_ns <= stamps[-1] else ""


def statistics_of(strokes: list[Stroke], tolerance_px: float) -> dict[str, object]:
    """Counts, the rate, and for each metric what is kept and how far the trace is from it."""
    counts = [len(stroke.xy_px) for stroke in strokes]
    steps = np.concatenate([np.diff(stroke.stamps_ns) for stroke in strokes])
    row: dict[str, object] = {
        "points": sum(counts),
        "strokes": len(strokes),
        "points_per_stroke": float(np.median(counts)),
        "rate_hz": round(1e9 / float(np.median(steps)), 1) if len(steps) else None,
    }
    for metric in METRICS:
        kept = [simplify(stroke.xy_px, tolerance_px, metric) for stroke in strokes]
        errors = [
            hausdorff_px(stroke.xy_px, stroke.xy_px[indices])
            for stroke, indices in zip(strokes, kept, strict=True)
        ]
        total = sum(len(indices) for indices in kept)
        row[metric] = {
            "kept": total,
            "compression": round(sum(counts) / total, 2),
            "error_median_px": round(float(np.median(errors)), 2),
            "error_max_px": round(max(errors), 2),
        }
    return row


def hausdorff_px(trace: FloatArray, polyline: FloatArray) -> float:
    """Greatest distance of a point of ``trace`` (N, 2) to ``polyline`` (K, 2), K >= 1."""
    starts = polyline[:-1] if len(polyline) > 1 else polyline
    steps = np.diff(polyline, axis=0) if len(polyline) > 1 else np.zeros((1, 2))
    lengths2 = np.maximum((steps * steps).sum(axis=1), np.finfo(np.float64).tiny)
    worst = 0.0
    for part in np.array_split(trace, len(trace) // 256 + 1):
        offsets = part[:, None] - starts
        along = np.clip((offsets * steps).sum(axis=2) / lengths2, 0.0, 1.0)
        gaps = offsets - along[..., None] * steps
        worst = max(worst, float((gaps * gaps).sum(axis=2).min(axis=1).max()))
    return float(np.sqrt(worst))


def _size_hw(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"--size is {text!r}; it must be WIDTHxHEIGHT in pixels, as 1280x720")
    return int(height), int(width)


def _as_table(rows: list[dict[str, object]], tolerance_px: float) -> str:
    lines = [
        f"tolerance {tolerance_px:g} px",
        f"{'recording':<26}{'points':>8}{'strokes':>8}{'/stroke':>8}{'Hz':>7}  "
        f"{'metric':<8}{'kept':>7}{'ratio':>7}{'error median':>13}{'max px':>8}",
    ]
    for row in rows:
        head = (
            f"{row['path']!s:<26.25}{row['points']:>8}{row['strokes']:>8}"
            f"{row['points_per_stroke']:>8}{row['rate_hz'] or '-':>7}"
        )
        for metric in METRICS:
            cells = row[metric]
            assert isinstance(cells, dict)
            lines.append(
                f"{head}  {metric:<8}{cells['kept']:>7}{cells['compression']:>7}"
                f"{cells['error_median_px']:>13}{cells['error_max_px']:>8}"
            )
            head = " " * len(head)
    return "\n".join(lines)
