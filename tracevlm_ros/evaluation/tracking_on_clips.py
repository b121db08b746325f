"""How many keypoints stay on their object in real video with a mask for every frame (DAVIS)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.simplify import simplify
from tracevlm_ros.core.tracking import LOST, TraceTracker, TrackingConfig
from tracevlm_ros.core.types import BoolArray, FloatArray, Frame, Image
from tracevlm_ros.evaluation.tracking_accuracy import PlainFlow

_TRACE = 1
_TOLERANCE_PX_AT_640 = 5.0


class ClipResult(NamedTuple):
    """Per frame after the first: share of all keypoints (lost ones too) inside the mask, for the
    tracker and for plain flow; share of keypoints that the tracker calls lost; and of those that
    it does not call lost, the share inside (NaN where all are lost).
    """

    name: str
    keypoints: int
    inside: FloatArray
    plain_inside: FloatArray
    lost: FloatArray
    inside_of_kept: FloatArray


def inside_mask(points_px: FloatArray, mask: BoolArray) -> BoolArray:
    """Which points (K, 2) lie on a true pixel of ``mask`` (H, W); false outside and for NaN."""
    pixel = np.rint(np.nan_to_num(points_px, nan=-1.0)).astype(np.int64)
    height, width = mask.shape
    on_image = np.all((pixel >= 0) & (pixel < (width, height)), axis=1)
    inside = np.zeros(len(points_px), dtype=bool)
    inside[on_image] = mask[pixel[on_image, 1], pixel[on_image, 0]]
    return inside


def follow_clips(davis: Path, config: TrackingConfig | None = None) -> list[ClipResult]:
    """Follow the first-frame stroke of every sequence under ``davis`` (``strokes.json``)."""
    try:
        strokes = json.loads((davis / "strokes.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{davis / 'strokes.json'}: {error.strerror}; set --data") from error
    return [
        _follow_clip(davis, name, np.asarray(stroke["stroke_xyt"])[:, :2], config)
        for name, stroke in sorted(strokes.items())
    ]


def _follow_clip(
    davis: Path, name: str, stroke_px: FloatArray, config: TrackingConfig | None
) -> ClipResult:
    paths = sorted((davis / "JPEGImages" / name).glob("*.jpg"))
    first = _read_rgb(paths[0])
    keypoints = simplify(stroke_px, _TOLERANCE_PX_AT_640 * max(first.shape) / 640)
    tracker, plain = TraceTracker(config), PlainFlow(first, stroke_px[keypoints])
    tracker.advance(Frame(0, first))
    tracker.extend(_TRACE, stroke_px)
    tracker.set_keypoints(_TRACE, keypoints)
    rows = []
    for index, path in enumerate(paths[1:], start=1):
        image = _read_rgb(path)
        tracker.advance(Frame(index, image))
        mask = _read_mask(davis / "Annotations" / name / f"{path.stem}.png")
        inside = inside_mask(tracker.positions(_TRACE)[keypoints], mask)
        kept = tracker.status(_TRACE)[keypoints] != LOST
        rows.append(
            (
                inside.mean(),
                inside_mask(plain.advance(image), mask).mean(),
                1.0 - kept.mean(),
                inside[kept].mean() if kept.any() else np.nan,
            )
        )
    columns = np.asarray(rows, dtype=np.float64).T
    return ClipResult(name, len(keypoints), *columns)


def share_table(clips: Sequence[ClipResult], after: Sequence[int]) -> list[dict[str, object]]:
    """Rows for people and JSON: shares after ``after`` frames and at the end, last row the mean.

    A clip shorter than ``after`` counts with its last frame.
    """
    rows: list[dict[str, object]] = []
    for clip in clips:
        row: dict[str, object] = {"clip": clip.name, "keypoints": clip.keypoints}
        for count in (*after, len(clip.inside)):
            at = min(count, len(clip.inside)) - 1
            label = "end" if count == len(clip.inside) else str(count)
            row[f"inside_{label}"] = float(clip.inside[at])
            row[f"plain_{label}"] = float(clip.plain_inside[at])
        row["inside_mean"] = float(clip.inside.mean())
        row["plain_mean"] = float(clip.plain_inside.mean())
        row["lost_mean"] = float(clip.lost.mean())
        kept = clip.inside_of_kept[np.isfinite(clip.inside_of_kept)]
        row["inside_of_kept_mean"] = float(kept.mean()) if len(kept) else None
        rows.append(row)
    mean: dict[str, object] = {"clip": "mean", "keypoints": sum(c.keypoints for c in clips)}
    for key in rows[0]:
        values = [row[key] for row in rows if isinstance(row.get(key), float)]
        if values:
            mean[key] = float(np.mean(np.asarray(values, dtype=np.float64)))
    return [*rows, mean]


def _read_rgb(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: no readable image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_mask(path: Path) -> BoolArray:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"{path}: no readable mask")
    return np.asarray(mask > 0, dtype=bool)
