import pytest

from tracevlm_ros.core.lens import Lens


@pytest.mark.parametrize(
    ("size_hw", "focal_px"),
    [((720, 1280), 900.0), ((360, 640), 450.0), ((1440, 2560), 1800.0), ((361, 642), 451.40625)],
)
def test_a_resized_picture_has_a_focal_length_as_much_longer_or_shorter(
    size_hw: tuple[int, int], focal_px: float
) -> None:
    assert Lens(900.0, (720, 1280)).focal_in(size_hw) == pytest.approx(focal_px)


def test_binned_pixels_are_wider_than_those_of_the_sensor() -> None:
    assert Lens(900.0, (720, 1280), (2, 2)).focal_in((360, 640)) == 450.0
    assert Lens(900.0, (720, 1280), (1, 2)).focal_in((720, 640)) == 450.0
    assert Lens(900.0, (720, 1280), (2, 1)).focal_in((360, 1280)) == 900.0


def test_lines_padded_to_whole_blocks_are_the_same_shape() -> None:
    assert Lens(900.0, (1080, 1920)).focal_in((1088, 1920)) == 900.0


def test_another_shape_has_no_focal_length_and_the_reason_names_both_sizes() -> None:
    lens = Lens(900.0, (960, 1280))
    assert lens.focal_in((720, 1280)) is None
    assert "1280x960" in lens.problem((720, 1280))
    assert "1280x720" in lens.problem((720, 1280))
    assert not lens.problem((480, 640))
    assert Lens(900.0, (720, 1280), (2, 1)).focal_in((720, 1280)) is None


def test_a_lens_that_tells_no_size_is_of_every_picture() -> None:
    assert Lens(900.0).focal_in((7, 9)) == 900.0
    assert Lens(900.0).problem((7, 9)) == ""
