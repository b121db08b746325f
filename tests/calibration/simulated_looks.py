"""A wearer with a known eye offset who looks at targets; the ground truth of calibration tests."""

import numpy as np

from calibration.observations import TargetLook
from tracevlm_ros.core.gaze_mapping import Intrinsics, rotation
from tracevlm_ros.core.types import FloatArray

SIZE_HW = (720, 1280)
CAMERA = Intrinsics(fx=0.6, fy=0.6 * 1280 / 720, cx=0.5, cy=0.5)


def grid(rows: int = 3, columns: int = 3, margin: float = 0.12) -> FloatArray:
    """Targets (N, 2), normalised, on a regular grid."""
    y, x = np.meshgrid(
        np.linspace(margin, 1 - margin, rows),
        np.linspace(margin, 1 - margin, columns),
        indexing="ij",
    )
    return np.stack([x.ravel(), y.ravel()], axis=1)


def looks(
    rng: np.random.Generator,
    targets: FloatArray,
    bias_deg: float = 1.0,
    noise_deg: float = 0.5,
    outlier_share: float = 0.2,
    samples: int = 120,
) -> list[TargetLook]:
    """Gaze at each target, turned by ``bias_deg`` in ``rng``'s first direction, with outliers."""
    direction = rng.uniform(0, 2 * np.pi)
    eye = rotation(*np.radians(bias_deg) * np.array([np.cos(direction), np.sin(direction)]))
    found = []
    for target in targets:
        ray = CAMERA.rays(target[None]) @ eye.T
        jitter = np.radians(noise_deg) * rng.standard_normal((samples, 2))
        rays = np.concatenate([ray[:, :2] / ray[:, 2:] + jitter, np.ones((samples, 1))], axis=1)
        gaze = CAMERA.project(rays)
        outlier = rng.random(samples) < outlier_share
        gaze[outlier] = rng.uniform(0, 1, (int(outlier.sum()), 2))
        found.append(TargetLook(target, gaze))
    return found
