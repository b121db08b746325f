from types import SimpleNamespace
from typing import Any

import pytest

from tracevlm_ros.core.lens import Lens
from tracevlm_ros.ingest.camera_info import lens_of, matrix_of


def camera_info(**fields: Any) -> Any:
    """A calibrated camera of 1280x960; ``roi`` is (x, y, width, height)."""
    x, y, width, height = fields.pop("roi", (0, 0, 0, 0))
    values = {"width": 1280, "height": 960, "binning_x": 0, "binning_y": 0, "focal_px": 800.0}
    values.update(fields)
    focal_px = values.pop("focal_px")
    return SimpleNamespace(
        k=[focal_px, 0.0, 640.0, 0.0, focal_px, 480.0, 0.0, 0.0, 1.0],
        roi=SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height),
        **values,
    )


def test_zeros_in_binning_and_roi_are_the_whole_sensor() -> None:
    assert lens_of(camera_info()) == Lens(800.0, (960, 1280), (1, 1))
    assert matrix_of(camera_info()) == [800.0, 0.0, 640.0, 0.0, 800.0, 480.0, 0.0, 0.0, 1.0]


def test_a_binned_camera_sees_fewer_pixels_of_the_same_lens() -> None:
    lens = lens_of(camera_info(binning_x=2, binning_y=2))
    assert lens is not None
    assert lens.focal_in((480, 640)) == 400.0


def test_a_region_of_interest_keeps_the_focal_length_and_moves_the_centre() -> None:
    info = camera_info(roi=(320, 240, 640, 360))
    lens = lens_of(info)
    assert lens is not None
    assert lens.focal_in((360, 640)) == 800.0
    assert matrix_of(info)[2::3] == [320.0, 240.0, 1.0]


def test_a_binned_region_of_interest_is_both() -> None:
    lens = lens_of(camera_info(roi=(320, 240, 640, 360), binning_x=2, binning_y=2))
    assert lens is not None
    assert lens.focal_in((180, 320)) == 400.0


@pytest.mark.parametrize("focal_px", [0.0, float("nan"), -3.0])
def test_an_uncalibrated_camera_has_no_lens(focal_px: float) -> None:
    assert lens_of(camera_info(focal_px=focal_px)) is None


def test_a_message_without_a_size_tells_of_every_picture() -> None:
    assert lens_of(camera_info(width=0, height=0)) == Lens(800.0)
