"""Patches of first sight: found again, or told apart from what covers them."""

import cv2
import numpy as np
import pytest

from tracevlm_ros.core.tracking.patches import PatchStore
from tracevlm_ros.synthetic.warped_video import textured_picture


@pytest.fixture
def grey():
    return cv2.cvtColor(textured_picture((120, 160), 3), cv2.COLOR_RGB2GRAY)


@pytest.fixture
def points():
    return np.random.default_rng(1).uniform((20, 20), (140, 100), (25, 2))


def moved(grey, shift):
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    return cv2.warpAffine(grey, matrix, grey.shape[::-1], flags=cv2.INTER_CUBIC)


def test_patches_are_found_to_a_tenth_of_a_pixel(grey, points):
    store = PatchStore(13, 1.5)
    slots = store.capture(grey, points)
    assert store.followable[slots].all()
    found = store.align(moved(grey, (0.6, -0.4)), slots, points, 2.0)
    assert np.median(np.abs(found.xy - points - (0.6, -0.4))) < 0.1
    assert (found.score > 0.9).all()


def test_brightness_and_contrast_do_not_move_patches(grey, points):
    store = PatchStore(13, 1.5)
    slots = store.capture(grey, points)
    duller = np.clip(0.6 * grey.astype(float) + 20, 0, 255).astype(np.uint8)
    found = store.align(duller, slots, points, 2.0)
    assert np.abs(found.xy - points).max() < 0.15
    assert (found.score > 0.97).all()


def test_a_patch_beyond_reach_stays_and_scores_minus_one(grey, points):
    store = PatchStore(13, 1.5)
    slots = store.capture(grey, points)
    found = store.align(moved(grey, (1.5, 0.0)), slots, points, 0.5)
    away = found.score == -1.0
    assert away.any()
    assert np.array_equal(found.xy[away], points[away])


def test_covered_tells_other_looks_from_the_same(grey, points):
    grey[:60] = 90
    store = PatchStore(13, 1.5)
    slots = store.capture(grey, points)
    assert not store.covered(grey, slots, points).any()
    other = cv2.cvtColor(textured_picture((120, 160), 8), cv2.COLOR_RGB2GRAY)
    assert store.covered(other, slots, points).mean() > 0.8


def test_points_outside_get_no_patch_and_slots_are_used_again(grey):
    store = PatchStore(13, 1.5)
    slots = store.capture(grey, np.array([[-5.0, 3.0], [np.nan, 1.0], [80.0, 60.0]]))
    assert slots[:2].tolist() == [-1, -1]
    store.release(slots)
    assert store.capture(grey, np.array([[30.0, 30.0]]))[0] == slots[2]
