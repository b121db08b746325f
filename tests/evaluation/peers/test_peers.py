"""The peers do what their names say."""

import numpy as np

from tests.evaluation.adapters.tiny_sets import PHOTO_HW, photo, square_mask, stroke
from tracevlm_ros.evaluation.metrics.masks import region_j
from tracevlm_ros.evaluation.peers.flow_warp import FlowWarp
from tracevlm_ros.evaluation.peers.grabcut import grabcut_mask, pieces_with
from tracevlm_ros.evaluation.peers.hull import hull_mask
from tracevlm_ros.synthetic.warped_video import textured_picture

PLACES = np.array(stroke())[:, :2]


def test_grabcut_finds_a_plain_object_and_gives_the_same_mask_again() -> None:
    mask = grabcut_mask(photo(), PLACES)
    assert region_j(mask, square_mask()) > 0.9
    assert (grabcut_mask(photo(), PLACES) == mask).all()


def test_grabcut_without_a_place_in_the_picture_is_empty() -> None:
    nowhere = np.array([[np.nan, np.nan], [900.0, -50.0]])
    assert not grabcut_mask(photo(), nowhere[:1]).any()
    assert not grabcut_mask(photo(), nowhere[1:]).any()


def test_only_pieces_that_hold_a_seed_are_kept() -> None:
    mask, seeds = np.zeros((5, 9), dtype=bool), np.zeros((5, 9), dtype=bool)
    mask[1:3, 1:3] = mask[1:3, 6:8] = True
    seeds[1, 1] = seeds[4, 4] = True
    kept = pieces_with(mask, seeds)
    assert kept[1:3, 1:3].all() and kept.sum() == 4


def test_the_hull_covers_its_corners_and_nothing_of_lost_points() -> None:
    corners = np.array([[2.0, 2.0], [10.0, 2.0], [10.0, 9.0], [np.nan, np.nan]])
    mask = hull_mask(corners, PHOTO_HW)
    assert mask[2, 2] and mask[2, 10] and mask[9, 10]
    assert not mask[9, 2] and mask.sum() < 81
    assert not hull_mask(corners[3:], PHOTO_HW).any()


def test_flow_carries_a_mask_with_a_moving_picture() -> None:
    picture = textured_picture((160, 200), 4)
    mask = np.zeros((120, 160), dtype=bool)
    mask[40:80, 50:100] = True
    warp = FlowWarp(picture[10:130, 10:170], mask)
    for step in range(1, 5):
        carried = warp.advance(picture[10:130, 10 + 3 * step : 170 + 3 * step])
    moved = np.roll(mask, -12, axis=1)
    assert region_j(carried, moved) > 0.9
    assert region_j(mask, moved) < 0.7
