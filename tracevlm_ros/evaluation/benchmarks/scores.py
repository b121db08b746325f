"""What a benchmark reports of one method: figures of each item, and their means."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray
from tracevlm_ros.evaluation.metrics.boundary import boundary_f
from tracevlm_ros.evaluation.metrics.masks import Overlap, cumulative_iou, overlap, precision_at

MODEL = "tracevlm"
PUBLISHED_J = {
    "OSVOS, given the first mask (DAVIS-2016 val)": 0.756,
    "RVOS, given the first mask (DAVIS-2016 val)": 0.616,
}
"""Stored results of others on all 20 clips; not run here."""
_DECAY_BINS = 10


def silent(done: int) -> None:
    """Progress that nobody watches."""
    del done


class MethodOnClip(NamedTuple):
    """``j`` and ``f`` of the scored frames, ``places`` (same length) 0..1 through the clip;
    ``seconds`` spent on ``frames`` frames."""

    clip: str
    method: str
    j: FloatArray
    f: FloatArray
    places: FloatArray
    seconds: float
    frames: int


class JAndF(NamedTuple):
    """One frame by the measures of DAVIS."""

    j: float
    f: float


def judge(mask: BoolArray, truth: BoolArray) -> JAndF:
    """J and F of one frame."""
    return JAndF(overlap(mask, truth).iou, boundary_f(mask, truth))


def summarize_clips(rows: Sequence[MethodOnClip]) -> dict[str, dict[str, Any]]:
    """Method -> mean J and F over clips (each clip counts once), J over time, speed, J by clip."""
    found: dict[str, dict[str, Any]] = {}
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        j, f = (float(np.mean([np.mean(getattr(r, key)) for r in mine])) for key in ("j", "f"))
        seconds = sum(row.seconds for row in mine)
        found[method] = {
            "j_mean": j,
            "f_mean": f,
            "j_and_f": (j + f) / 2,
            "j_recall": float(np.mean([np.mean(row.j > 0.5) for row in mine])),
            "j_over_time": _over_time(mine),
            "ms_per_frame": 1e3 * seconds / max(1, sum(row.frames for row in mine)),
            "frames_scored": int(sum(len(row.j) for row in mine)),
            "j_by_clip": {row.clip: float(np.mean(row.j)) for row in mine},
        }
    return found


def j_above_peers(rows: Sequence[MethodOnClip]) -> dict[str, float]:
    """Peer -> how far MODEL's J is above it on the frames that both scored: means over the frames
    of a clip, then over clips. Clips without such a frame are left out."""
    ours = {row.clip: row for row in rows if row.method == MODEL}
    above: dict[str, list[float]] = {}
    for row in rows:
        if row.method == MODEL or row.clip not in ours:
            continue
        our = ours[row.clip]
        _, mine, theirs = np.intersect1d(our.places, row.places, return_indices=True)
        if len(mine):
            gain = float(np.mean(our.j[mine] - row.j[theirs]))
            above.setdefault(row.method, []).append(gain)
    return {method: float(np.mean(gains)) for method, gains in above.items()}


def _over_time(rows: Sequence[MethodOnClip]) -> list[float | None]:
    """Mean J of each tenth of the clips, every clip counting once; None where nothing fell."""
    means: list[float | None] = []
    for part in range(_DECAY_BINS):
        low, high = part / _DECAY_BINS, (part + 1) / _DECAY_BINS
        each = [row.j[(row.places >= low) & (row.places < high)] for row in rows]
        each = [values for values in each if len(values)]
        means.append(float(np.mean([np.mean(values) for values in each])) if each else None)
    return means


def summarize_overlaps(overlaps: Sequence[Overlap]) -> dict[str, float | int]:
    """Mean IoU, cIoU and P@0.5 of one group of masks; only the count when there are none."""
    if not overlaps:
        return {"count": 0}
    return {
        "count": len(overlaps),
        "iou_mean": float(np.mean([one.iou for one in overlaps])),
        "ciou": cumulative_iou(overlaps),
        "precision_50": precision_at(overlaps, 0.5),
    }
