"""From a tracker's gaze point to the pixel that the person looks at: a fitted correction.

``calibration`` fits these; the pipeline applies them. All coordinates are normalised by the image
size inside the models (x / W, y / H), so that a mapping holds for any resolution of one camera.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray

FORMAT_VERSION = 1
PARAMETER_COUNTS = {"affine": 6, "homography": 8, "polynomial": 12, "kappa": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Intrinsics:
    """Pinhole camera in units of the image size: ``fx`` = focal_px / W, ``cy`` = centre_px / H."""

    fx: float
    fy: float
    cx: float
    cy: float

    def rays(self, points: FloatArray) -> FloatArray:
        """Normalised image points (N, 2) -> unit rays (N, 3), z forward."""
        x = (points[:, 0] - self.cx) / self.fx
        y = (points[:, 1] - self.cy) / self.fy
        rays = np.stack([x, y, np.ones_like(x)], axis=1)
        return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))

    def project(self, rays: FloatArray) -> FloatArray:
        """Rays (N, 3) -> normalised image points (N, 2); rays behind the camera become NaN."""
        z = np.where(rays[:, 2] > 1e-9, rays[:, 2], np.nan)
        return np.stack(
            [self.fx * rays[:, 0] / z + self.cx, self.fy * rays[:, 1] / z + self.cy], axis=1
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GazeMapping:
    """``model`` is a key of PARAMETER_COUNTS; ``kappa`` (yaw, pitch; radians) needs intrinsics."""

    model: str
    parameters: tuple[float, ...]
    intrinsics: Intrinsics | None = None

    def __post_init__(self) -> None:
        count = PARAMETER_COUNTS.get(self.model)
        if count is None:
            raise InputError(
                f"gaze mapping model is '{self.model}'; known: {', '.join(PARAMETER_COUNTS)}"
            )
        if len(self.parameters) != count or not np.all(np.isfinite(self.parameters)):
            raise InputError(
                f"gaze mapping '{self.model}' takes {count} finite parameters, "
                f"got {len(self.parameters)}: calibrate again"
            )
        if self.model == "kappa" and self.intrinsics is None:
            raise InputError("gaze mapping 'kappa' needs the camera's intrinsics")

    def apply(self, points: FloatArray) -> FloatArray:
        """Normalised gaze points (N, 2) -> corrected ones (N, 2). NaN stays NaN."""
        values = np.asarray(self.parameters)
        if self.model == "affine":
            return np.asarray(terms(points, degree=1) @ values.reshape(3, 2))
        if self.model == "polynomial":
            return np.asarray(terms(points, degree=2) @ values.reshape(6, 2))
        if self.model == "homography":
            matrix = np.append(values, 1.0).reshape(3, 3)
            mapped = terms(points, degree=1)[:, [1, 2, 0]] @ matrix.T
            return np.asarray(mapped[:, :2] / mapped[:, 2:])
        assert self.intrinsics is not None
        return self.intrinsics.project(self.intrinsics.rays(points) @ rotation(*values).T)

    def apply_px(self, x_px: float, y_px: float, size_hw: tuple[int, int]) -> tuple[float, float]:
        """One point in pixels of an image of ``size_hw``."""
        scale = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
        corrected = self.apply(np.array([[x_px + 0.5, y_px + 0.5]]) / scale) * scale - 0.5
        return float(corrected[0, 0]), float(corrected[0, 1])


def terms(points: FloatArray, degree: int) -> FloatArray:
    """Monomials (N, 3) ``1, x, y`` or (N, 6) with ``x^2, x y, y^2`` of points (N, 2)."""
    x, y = points[:, 0], points[:, 1]
    columns = [np.ones_like(x), x, y]
    if degree == 2:
        columns += [x * x, x * y, y * y]
    return np.stack(columns, axis=1)


def rotation(yaw: float, pitch: float) -> FloatArray:
    """Rotation (3, 3) by ``yaw`` about y (to the right) after ``pitch`` about x (downwards)."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return np.asarray(about_y @ about_x)


def write_mapping(path: Path, mapping: GazeMapping, notes: dict[str, Any]) -> None:
    """Write versioned YAML; ``notes`` (accuracy, date, source) are for people and reports."""
    document: dict[str, Any] = {
        "format": "tracevlm gaze mapping",
        "version": FORMAT_VERSION,
        "model": mapping.model,
        "parameters": [float(value) for value in mapping.parameters],
    }
    if mapping.intrinsics is not None:
        camera = mapping.intrinsics
        document["intrinsics"] = {
            name: float(getattr(camera, name)) for name in ("fx", "fy", "cx", "cy")
        }
    path.write_text(yaml.safe_dump({**document, "notes": notes}, sort_keys=False))


def read_mapping(path: Path) -> GazeMapping:
    """Read what ``write_mapping`` wrote; raises InputError naming path, value and remedy."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"gaze calibration {path} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != "tracevlm gaze mapping":
        raise InputError(f"{path} is no gaze calibration; make one with: tracevlm calibrate gaze")
    if document.get("version") != FORMAT_VERSION:
        raise InputError(
            f"gaze calibration {path} has version {document.get('version')}, this reads "
            f"{FORMAT_VERSION}: calibrate again"
        )
    try:
        camera = document.get("intrinsics")
        return GazeMapping(
            model=str(document["model"]),
            parameters=tuple(float(value) for value in document["parameters"]),
            intrinsics=None if camera is None else Intrinsics(**camera),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"gaze calibration {path} lacks or garbles {error}") from error
