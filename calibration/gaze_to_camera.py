"""Fit gaze to camera: choose the model by cross-validation, report accuracy and precision."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.gaze_models import fit, targets_needed
from calibration.observations import (
    FixedTarget,
    TargetLook,
    coverage,
    reduce_looks,
    require_spread,
)
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.gaze_mapping import PARAMETER_COUNTS, GazeMapping, Intrinsics
from tracevlm_ros.core.types import FloatArray

MODELS = ("kappa", "affine", "homography", "polynomial")
_MIN_COVERAGE = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class GazeCalibration:
    """A fitted mapping and what is known about it.

    ``accuracy_*``: median over targets of the offset that remains, by leave-one-target-out where
    there are targets enough, else on the fitted ones (``cross_validated`` tells).
    ``bias_*``: the same before calibration. ``precision_*``: robust deviation of the samples about
    their target's centre. Degrees need intrinsics, else they are None. ``cross_validation_px``
    holds the figure of every model that could be fitted. ``residuals_px`` (N, 2) after correction.
    """

    mapping: GazeMapping
    size_hw: tuple[int, int]
    accuracy_px: float
    accuracy_deg: float | None
    bias_px: float
    bias_deg: float | None
    precision_px: float
    precision_deg: float | None
    cross_validated: bool
    cross_validation_px: dict[str, float]
    targets_px: FloatArray
    residuals_px: FloatArray
    warnings: tuple[str, ...]


def calibrate_gaze(
    looks: Sequence[TargetLook],
    size_hw: tuple[int, int],
    intrinsics: Intrinsics | None = None,
    models: Sequence[str] = MODELS,
) -> GazeCalibration:
    """Fit every model of ``models`` that the targets allow and keep the best in cross-validation.

    A richer model wins only where it is at least 5% better than the simpler one before it.
    Raises InputError for too few or collinear targets.
    """
    fixed = reduce_looks(looks, size_hw)
    targets = np.array([item.target for item in fixed]).reshape(-1, 2)
    require_spread(targets)
    gaze = np.array([item.gaze for item in fixed])
    scale = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
    scores, cross_validated = _score_models(models, gaze, targets, scale, intrinsics)
    best = _choose(scores)
    mapping = fit(best, gaze, targets, intrinsics)
    corrected = mapping.apply(gaze)
    held_out = _held_out(best, gaze, targets, intrinsics) if cross_validated else corrected
    spread_px = float(np.median([item.spread_px for item in fixed]))
    return GazeCalibration(
        mapping=mapping,
        size_hw=size_hw,
        accuracy_px=_offset_px(held_out, targets, scale),
        accuracy_deg=_offset_deg(held_out, targets, intrinsics),
        bias_px=_offset_px(gaze, targets, scale),
        bias_deg=_offset_deg(gaze, targets, intrinsics),
        precision_px=spread_px,
        precision_deg=_angle_of(spread_px, intrinsics, scale),
        cross_validated=cross_validated,
        cross_validation_px=scores,
        targets_px=targets * scale - 0.5,
        residuals_px=(corrected - targets) * scale,
        warnings=_warnings(fixed, targets, cross_validated),
    )


def _score_models(
    models: Sequence[str],
    gaze: FloatArray,
    targets: FloatArray,
    scale: FloatArray,
    intrinsics: Intrinsics | None,
) -> tuple[dict[str, float], bool]:
    """Median held-out offset in pixels of each model that has targets enough to leave one out."""
    unknown = [model for model in models if model not in PARAMETER_COUNTS]
    if unknown:
        raise InputError(f"unknown gaze model '{unknown[0]}'; known: {', '.join(PARAMETER_COUNTS)}")
    usable = [m for m in models if m != "kappa" or intrinsics is not None]
    testable = [model for model in usable if len(gaze) > targets_needed(model)]
    if testable:
        held_out = {model: _held_out(model, gaze, targets, intrinsics) for model in testable}
        return {model: _offset_px(held_out[model], targets, scale) for model in testable}, True
    simplest = [model for model in usable if len(gaze) >= targets_needed(model)][:1]
    if not simplest:
        raise InputError(
            f"{len(gaze)} targets are too few for {', '.join(models)}; look at "
            f"{min(targets_needed(m) for m in models)} or more"
        )
    fitted = fit(simplest[0], gaze, targets, intrinsics).apply(gaze)
    return {simplest[0]: _offset_px(fitted, targets, scale)}, False


def _held_out(
    model: str, gaze: FloatArray, targets: FloatArray, intrinsics: Intrinsics | None
) -> FloatArray:
    """Each target's gaze, corrected by the fit to all the others."""
    rows = []
    for index in range(len(gaze)):
        rest = np.arange(len(gaze)) != index
        mapping = fit(model, gaze[rest], targets[rest], intrinsics)
        rows.append(mapping.apply(gaze[index : index + 1])[0])
    return np.array(rows)


def _choose(scores: dict[str, float]) -> str:
    ordered = [model for model in MODELS if model in scores]
    best = ordered[0]
    for model in ordered[1:]:
        if scores[model] < 0.95 * scores[best]:
            best = model
    return best


def _offset_px(points: FloatArray, targets: FloatArray, scale: FloatArray) -> float:
    return float(np.median(np.linalg.norm((points - targets) * scale, axis=1)))


def _offset_deg(
    points: FloatArray, targets: FloatArray, intrinsics: Intrinsics | None
) -> float | None:
    if intrinsics is None:
        return None
    cosine = np.sum(intrinsics.rays(points) * intrinsics.rays(targets), axis=1)
    return float(np.median(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))))


def _angle_of(pixels: float, intrinsics: Intrinsics | None, scale: FloatArray) -> float | None:
    if intrinsics is None:
        return None
    focal_px = float((intrinsics.fx * scale[0] + intrinsics.fy * scale[1]) / 2)
    return float(np.degrees(np.arctan2(pixels, focal_px)))


def _warnings(
    fixed: Sequence[FixedTarget], targets: FloatArray, cross_validated: bool
) -> tuple[str, ...]:
    found = []
    share = coverage(targets)
    if share < _MIN_COVERAGE:
        found.append(
            f"the targets span {share:.0%} of the image; below {_MIN_COVERAGE:.0%} the borders are "
            "extrapolated: look at targets nearer to the corners"
        )
    if not cross_validated:
        found.append("too few targets to leave one out: the accuracy is that of the fit itself")
    poor = sum(item.kept < item.total / 2 for item in fixed)
    if poor:
        found.append(f"at {poor} target(s) more than half of the gaze samples were lost or far off")
    return tuple(found)
