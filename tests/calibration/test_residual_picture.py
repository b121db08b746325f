from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.gaze_to_camera import GazeCalibration, calibrate_gaze
from calibration.residual_picture import residual_picture, write_picture
from tests.calibration.simulated_looks import CAMERA, SIZE_HW, grid, looks
from tracevlm_ros.core.errors import InputError


@pytest.fixture
def calibration() -> GazeCalibration:
    return calibrate_gaze(looks(np.random.default_rng(3), grid()), SIZE_HW, CAMERA)


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.all(np.abs(picture.astype(int) - colour) <= 2, axis=2)


def test_the_picture_has_the_image_s_shape_with_the_covered_part_shaded(
    calibration: GazeCalibration,
) -> None:
    picture = residual_picture(calibration)
    assert picture.shape == (675 + 84, 1200, 3)
    shaded = is_colour(picture[:675], (222, 236, 247)).mean()
    assert shaded == pytest.approx(0.76 * 0.76, abs=0.02)


def test_every_target_is_marked_where_it_is(calibration: GazeCalibration) -> None:
    picture = residual_picture(calibration)
    for x, y in np.round((calibration.targets_px + 0.5) * 1200 / SIZE_HW[1]).astype(int):
        assert picture[y - 5, x].max() < 60


def test_arrows_are_magnified_until_they_can_be_seen(calibration: GazeCalibration) -> None:
    """At x50 the median residual of half a pixel takes tens of pixels."""
    red = is_colour(residual_picture(calibration), (200, 60, 30))
    assert 200 < np.count_nonzero(red) < 5000
    assert np.median(np.linalg.norm(calibration.residuals_px, axis=1)) < 2


def test_it_is_written_as_png_and_a_missing_folder_is_said(
    calibration: GazeCalibration, tmp_path: Path
) -> None:
    picture = residual_picture(calibration)
    write_picture(tmp_path / "residuals.png", picture)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "residuals.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, picture)
    with pytest.raises(InputError, match="cannot be written"):
        write_picture(tmp_path / "none" / "residuals.png", picture)
