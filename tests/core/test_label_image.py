"""Masks at the model's size become labels at the camera's: the fast way against the plain one."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tracevlm_ros.core.fovea import Window
from tracevlm_ros.core.label_image import compose
from tracevlm_ros.core.types import Frame

NEAR_ZERO = 1e-4


def frame_of(size_hw: tuple[int, int]) -> Frame:
    return Frame(1, np.zeros((*size_hw, 3), np.uint8))


def blob(rng: np.random.Generator, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth bump above 0 somewhere, perhaps at the border, below 0 elsewhere."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    centre, radius = rng.uniform(0, 1, 2) * size_hw, 0.5 + rng.uniform(0, 0.4 * min(size_hw))
    distance = np.hypot(y - centre[0], x - centre[1])
    return (5.0 * (1 - distance / radius) + rng.normal(0, 0.3, size_hw)).astype(np.float32)


def upsampled(logit: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(logit, size_hw[::-1], interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("size_hw", [(480, 640), (720, 1280), (123, 457), (60, 50)])
@pytest.mark.parametrize("mask_hw", [(64, 64), (56, 56), (96, 128), (1, 3)])
def test_every_pixel_has_the_label_of_the_highest_upsampled_logit(
    size_hw: tuple[int, int], mask_hw: tuple[int, int]
) -> None:
    rng = np.random.default_rng(sum(size_hw) + mask_hw[0])
    for _ in range(10):
        ids = [3, 9, 4]
        logits = [blob(rng, mask_hw) for _ in ids]
        whole = np.stack([np.zeros(size_hw), *(upsampled(each, size_hw) for each in logits)])
        expected = np.array([0, *ids])[whole.argmax(axis=0)]
        found = compose(frame_of(size_hw), ids, logits).labels
        ordered = np.sort(whole, axis=0)
        is_clear = ordered[-1] - ordered[-2] > NEAR_ZERO
        np.testing.assert_array_equal(found[is_clear], expected[is_clear])
        assert is_clear.any()


def test_a_trace_without_a_mask_yet_is_not_shown_and_one_below_zero_covers_nothing() -> None:
    below = np.full((8, 8), -1.0, np.float32)
    masks = compose(frame_of((32, 32)), [1, 2], [None, below])
    assert masks.trace_ids == (2,)
    assert not masks.labels.any()


def test_a_mask_that_is_above_zero_everywhere_covers_the_frame() -> None:
    masks = compose(frame_of((31, 45)), [7], [np.ones((8, 8), np.float32)])
    assert (masks.labels == 7).all()


def test_logits_over_a_window_lie_there_as_in_a_frame_of_that_size_and_nowhere_else() -> None:
    window = Window(40, 24, 96, 64, (120, 160))
    logits = [blob(np.random.default_rng(seed), (16, 24)) for seed in (1, 2)]
    found = compose(frame_of((120, 160)), [7, 9], logits, window).labels
    alone = compose(frame_of((64, 96)), [7, 9], logits).labels
    np.testing.assert_array_equal(found[24:88, 40:136], alone)
    assert np.count_nonzero(found) == np.count_nonzero(alone) > 0
