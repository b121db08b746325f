import numpy as np

from tracevlm_ros.core.preprocess import fit_image


def test_shrinking_averages_areas() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:2, :3] = 200
    image[0, 0] = 120
    found = fit_image(image, (2, 2))
    assert found[0, 0].tolist() == [187] * 3
    assert found[1, 1].tolist() == [0] * 3


def test_an_image_of_the_right_size_is_returned_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(fit_image(image, (5, 7)), image)


def test_a_view_becomes_contiguous() -> None:
    image = np.zeros((5, 7, 3), np.uint8)[:, ::-1]
    assert fit_image(image, (5, 7)).flags.c_contiguous


def test_stretching_keeps_places_in_shares_of_the_frame() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    image[45:, 120:] = 255
    found = fit_image(image, (64, 64))
    rows, columns = np.nonzero(found[..., 0] > 127)
    assert (rows.min(), columns.min()) == (32, 48)
