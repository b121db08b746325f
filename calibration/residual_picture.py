"""A calibration at one glance: targets, what error remains at each, and how much they cover."""

from pathlib import Path

import cv2
import numpy as np

from calibration.gaze_to_camera import GazeCalibration
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray, Image

_WIDTH = 1200
_FOOT = 84
_MAGNIFICATIONS = (1, 2, 5, 10, 20, 50, 100)
_ARROW_PX = 45.0
_PAPER, _FRAME, _HULL = (255, 255, 255), (150, 150, 150), (222, 236, 247)
_TARGET, _ARROW, _INK = (30, 30, 30), (200, 60, 30), (40, 40, 40)


def residual_picture(calibration: GazeCalibration) -> Image:
    """uint8 RGB, 1200 wide, of the image's shape with a legend below.

    The hull of the targets is shaded; beyond it the mapping is extrapolated. Each arrow leads from
    a target to where corrected gaze lands, magnified as the legend says.
    """
    height_px, width_px = calibration.size_hw
    scale = _WIDTH / width_px
    height = round(height_px * scale)
    canvas = np.full((height + _FOOT, _WIDTH, 3), _PAPER, dtype=np.uint8)
    targets = (calibration.targets_px + 0.5) * scale
    if len(targets) >= 3:
        hull = cv2.convexHull(targets.astype(np.float32))
        cv2.fillPoly(canvas, [np.round(hull).astype(np.int32)], _HULL, cv2.LINE_AA)
    magnification = _magnification(calibration.residuals_px * scale)
    tips = targets + calibration.residuals_px * scale * magnification
    for target, tip in zip(targets, tips, strict=True):
        _arrow(canvas, target, np.clip(tip, -4 * _WIDTH, 4 * _WIDTH))
    for x, y in np.round(targets).astype(int):
        cv2.drawMarker(canvas, (int(x), int(y)), _TARGET, cv2.MARKER_CROSS, 14, 2, cv2.LINE_AA)
    canvas[height:] = _PAPER
    cv2.rectangle(canvas, (0, 0), (_WIDTH - 1, height - 1), _FRAME, 2)
    for row, text in enumerate(_legend(calibration, magnification)):
        place = (14, height + 32 + 34 * row)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, _INK, 1, cv2.LINE_AA)
    return canvas


def write_picture(path: Path, picture: Image) -> None:
    """As PNG; raises InputError when it cannot be written."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, "PNG takes any uint8 picture"
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"picture {path} cannot be written: {error}") from error


def _magnification(residuals: FloatArray) -> int:
    """The largest one at which the usual arrow still fits between targets."""
    usual = float(np.median(np.linalg.norm(residuals, axis=1)))
    fitting = [factor for factor in _MAGNIFICATIONS if factor * usual <= _ARROW_PX]
    return max(fitting, default=1)


def _arrow(canvas: Image, start: FloatArray, end: FloatArray) -> None:
    (x0, y0), (x1, y1) = np.round(start).astype(int), np.round(end).astype(int)
    length = max(1.0, float(np.linalg.norm(end - start)))
    cv2.arrowedLine(
        canvas,
        (int(x0), int(y0)),
        (int(x1), int(y1)),
        _ARROW,
        2,
        cv2.LINE_AA,
        tipLength=min(0.4, 9.0 / length),
    )


def _legend(calibration: GazeCalibration, magnification: int) -> tuple[str, str]:
    def both(pixels: float, degrees: float | None) -> str:
        return f"{pixels:.1f} px" + ("" if degrees is None else f" = {degrees:.2f} deg")

    count = len(calibration.targets_px)
    return (
        f"{calibration.mapping.model}, {count} targets (shaded: covered), arrows: what remains, "
        f"x{magnification}",
        f"accuracy {both(calibration.accuracy_px, calibration.accuracy_deg)}   "
        f"before {both(calibration.bias_px, calibration.bias_deg)}   "
        f"precision {both(calibration.precision_px, calibration.precision_deg)}",
    )
