from pathlib import Path

import pytest
import yaml

from calibration.intrinsics import from_focal, from_matrix, read_camera_yaml
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.gaze_mapping import Intrinsics

MATRIX = [600.0, 0, 639.5, 0, 610.0, 359.5, 0, 0, 1]
CAMERA = Intrinsics(fx=600 / 1280, fy=610 / 720, cx=0.5, cy=0.5)


def test_the_three_ways_to_tell_a_camera_agree(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    document = {"image_width": 1280, "image_height": 720, "camera_matrix": {"data": MATRIX}}
    path.write_text(yaml.safe_dump(document))
    assert read_camera_yaml(path) == from_matrix(MATRIX, (720, 1280), "here") == CAMERA
    square = [600.0, 0, 639.5, 0, 600.0, 359.5, 0, 0, 1]
    assert from_focal(600, (720, 1280)) == from_matrix(square, (720, 1280), "here")


@pytest.mark.parametrize("text", ["a: [", "image_width: 3", "[1, 2]", "text"])
def test_a_file_that_is_no_camera_calibration_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"camera\.yaml"):
        read_camera_yaml(path)


def test_an_uncalibrated_camera_is_refused() -> None:
    with pytest.raises(InputError, match="no calibrated camera"):
        from_matrix([0.0] * 9, (720, 1280), "/camera_info")
    with pytest.raises(ConfigError, match="focal_px is 0"):
        from_focal(0, (720, 1280))
