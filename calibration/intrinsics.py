"""The camera's intrinsics from where a user has them."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.gaze_mapping import Intrinsics
from tracevlm_ros.core.settings import require_range


def from_focal(focal_px: float, size_hw: tuple[int, int]) -> Intrinsics:
    """A camera that looks through the middle of its image, with square pixels."""
    require_range("focal_px", focal_px, 1.0, 1e6)
    height, width = size_hw
    return Intrinsics(fx=focal_px / width, fy=focal_px / height, cx=0.5, cy=0.5)


def from_matrix(matrix: Sequence[float], size_hw: tuple[int, int], source: str) -> Intrinsics:
    """Nine values row by row, in pixels with centres at integers, for images of ``size_hw``.

    Distortion is not part of it: the fitted models take up what little of it reaches gaze.
    """
    values = [float(value) for value in matrix]
    height, width = size_hw
    if len(values) != 9 or min(values[0], values[4], height, width) <= 0:
        raise InputError(
            f"{source} holds no calibrated camera (matrix {values}, {width}x{height}); calibrate "
            "the camera or give --focal-px"
        )
    return Intrinsics(
        fx=values[0] / width,
        fy=values[4] / height,
        cx=(values[2] + 0.5) / width,
        cy=(values[5] + 0.5) / height,
    )


def read_camera_yaml(path: Path) -> Intrinsics:
    """A file as ROS's camera calibration writes it (image_width, image_height, camera_matrix)."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        size_hw = int(document["image_height"]), int(document["image_width"])
        return from_matrix(document["camera_matrix"]["data"], size_hw, str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"camera calibration {path} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no camera calibration (image_width, image_height, camera_matrix): {error}"
        ) from error
