"""Shrinking by areas."""

import cv2
import numpy as np
import pytest

from tracevlm_ros.core.shrinking import shrunk


@pytest.fixture
def picture():
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(coarse, (1101, 719), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("size_hw", [(719, 1101), (500, 800), (359, 550), (105, 160), (40, 64)])
def test_as_good_as_plain_areas(picture, size_hw):
    small = shrunk(picture, size_hw)
    plain = cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_AREA)
    assert small.shape == (*size_hw, 3) and small.dtype == np.uint8
    assert np.abs(small.astype(int) - plain).mean() < 2.0


def test_fine_stripes_become_grey_and_no_pattern():
    """What a picture shows below the size of a pixel is averaged, not picked."""
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(shrunk(stripes, (90, 120)).astype(int) - 100).max() <= 2


def test_a_picture_narrower_than_twice_its_size_is_not_halved(picture):
    flat = picture[:200]
    plain = cv2.resize(flat, (300, 120), interpolation=cv2.INTER_AREA)
    assert np.array_equal(shrunk(flat, (120, 300)), plain)
