"""Least-squares fits of each gaze mapping model, robust against targets that were not looked at."""

from collections.abc import Callable

import numpy as np

from calibration.observations import RAYLEIGH_MEDIAN
from tracevlm_ros.core.gaze_mapping import PARAMETER_COUNTS, GazeMapping, Intrinsics, terms
from tracevlm_ros.core.types import FloatArray

_ROUNDS = 20
_STEPS = 30
_SETTLED = 1e-3
"""Weights (0..1) that change by less no longer move a fit by anything that matters to gaze."""


def targets_needed(model: str) -> int:
    """Each target gives two equations; at least one target more than the bare minimum is asked."""
    return max(3, PARAMETER_COUNTS[model] // 2 + (0 if model == "affine" else 1))


def fit(
    model: str, gaze: FloatArray, target: FloatArray, intrinsics: Intrinsics | None = None
) -> GazeMapping:
    """Fit ``model`` to map ``gaze`` (N, 2) onto ``target`` (N, 2), both normalised.

    Iteratively re-weighted with Tukey's biweight, the scale taken from the median residual.
    """
    weight = np.ones(len(gaze))
    mapping = _weighted_fit(model, gaze, target, weight, intrinsics)
    for _ in range(_ROUNDS):
        residual = np.linalg.norm(mapping.apply(gaze) - target, axis=1)
        scale = 4.685 * max(float(np.median(residual)) / RAYLEIGH_MEDIAN, 1e-6)
        new = np.square(np.maximum(0.0, 1.0 - np.square(residual / scale)))
        if np.count_nonzero(new > 1e-3) < targets_needed(model):
            break
        if np.allclose(new, weight, atol=_SETTLED):
            break
        weight = new
        mapping = _weighted_fit(model, gaze, target, weight, intrinsics)
    return mapping


def _weighted_fit(
    model: str,
    gaze: FloatArray,
    target: FloatArray,
    weight: FloatArray,
    intrinsics: Intrinsics | None,
) -> GazeMapping:
    if model in ("affine", "polynomial"):
        root = np.sqrt(weight)[:, None]
        design = terms(gaze, degree=1 if model == "affine" else 2)
        solution = np.linalg.lstsq(design * root, target * root, rcond=None)[0]
        return GazeMapping(model=model, parameters=tuple(solution.ravel().tolist()))
    start = np.zeros(2)
    if model == "homography":
        affine = _weighted_fit("affine", gaze, target, weight, None).parameters
        (tx, ty), (ax, bx), (ay, by) = np.reshape(affine, (3, 2))
        start = np.array([ax, ay, tx, bx, by, ty, 0.0, 0.0])

    def predict(values: FloatArray) -> FloatArray:
        mapping = GazeMapping(model=model, parameters=tuple(values), intrinsics=intrinsics)
        return mapping.apply(gaze)

    values = _gauss_newton(predict, start, target, np.repeat(np.sqrt(weight), 2))
    return GazeMapping(model=model, parameters=tuple(values.tolist()), intrinsics=intrinsics)


def _gauss_newton(
    predict: Callable[[FloatArray], FloatArray],
    start: FloatArray,
    target: FloatArray,
    root_weight: FloatArray,
) -> FloatArray:
    """Levenberg-Marquardt on a few parameters, the Jacobian by central differences."""
    values, damping = start.copy(), 1e-4
    residual = (predict(values) - target).ravel() * root_weight
    for _ in range(_STEPS):
        jacobian = np.empty((residual.size, values.size))
        for column in range(values.size):
            step = np.zeros_like(values)
            step[column] = 1e-6
            slope = (predict(values + step) - predict(values - step)) / 2e-6
            jacobian[:, column] = slope.ravel() * root_weight
        normal = jacobian.T @ jacobian
        move = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal) + 1e-12), -jacobian.T @ residual
        )
        trial = (predict(values + move) - target).ravel() * root_weight
        gain = residual @ residual - trial @ trial
        if gain > 0:
            values, residual, damping = values + move, trial, damping / 10
        else:
            damping *= 10
        if gain <= 1e-12 * (residual @ residual) and (gain > 0 or damping > 1.0):
            break
    return values
