"""Re-anchoring by a mask of the object."""

import cv2
import numpy as np
import pytest

from tests.core.tracking.scenes import SIZE_HW, film, frame, started, stroke
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.tracking import CARRIED, TRACKED
from tracevlm_ros.core.tracking.pulling import core_of, nearest_on_mask, pull_into_mask
from tracevlm_ros.synthetic.warped_video import textured_picture


def disc(centre, radius, size_hw=SIZE_HW):
    row, column = np.mgrid[: size_hw[0], : size_hw[1]]
    return np.hypot(column - centre[0], row - centre[1]) <= radius


def test_points_off_the_mask_move_to_its_nearest_pixel_and_others_stay():
    mask = disc((60, 50), 20)
    points = np.array([[60.0, 50.0], [62.3, 48.1], [55.0, 55.0], [60.0, 90.0]])
    pulled = pull_into_mask(points, mask, whole=False)
    assert pulled.pulled.tolist() == [False, False, False, True]
    assert np.array_equal(pulled.xy[:3], points[:3])
    row, column = np.nonzero(mask)
    nearest = np.hypot(column - 60, row - 90).min()
    assert np.hypot(*(pulled.xy[3] - points[3])) == pytest.approx(nearest)


def test_a_trace_mostly_off_the_mask_moves_there_as_a_whole():
    points = stroke((150, 120), 10)
    pulled = pull_into_mask(points, disc((60, 50), 25), whole=False)
    shift = pulled.xy - points
    assert np.abs(shift - shift[0]).max() < 1e-9
    assert np.abs(pulled.xy.mean(axis=0) - (60, 50)).max() < 0.5


def test_an_empty_mask_moves_nothing():
    points = stroke()
    pulled = pull_into_mask(points, np.zeros(SIZE_HW, dtype=bool), whole=True)
    assert not pulled.pulled.any()
    assert np.array_equal(pulled.xy, points)


def test_points_that_are_not_finite_stay_out_of_it():
    points = stroke((150, 120), 10)
    points[0] = np.nan
    pulled = pull_into_mask(points, disc((60, 50), 25), whole=True)
    assert np.isnan(pulled.xy[0]).all()
    assert not pulled.pulled[0]
    assert np.isfinite(pulled.xy[1:]).all()


def test_a_lost_trace_is_found_again_by_the_mask_and_then_followed():
    video, other = film(frames=4), textured_picture(SIZE_HW, 99)
    tracker = started(video.frame(0))
    tracker.advance(frame(video.frame(1), 1))
    tracker.advance(frame(other, 2))
    assert tracker.lost(1)
    assert tracker.reanchor(1, disc((100, 80), 30)) == 40
    assert not tracker.lost(1)
    assert np.abs(tracker.positions(1).mean(axis=0) - (100, 80)).max() < 6
    where = tracker.positions(1)
    tracker.advance(frame(np.roll(other, 3, axis=1), 3))
    assert np.abs(tracker.positions(1) - where - [3, 0]).max() < 1.0
    assert (tracker.status(1)[::4] == TRACKED).mean() > 0.5


def test_a_mask_of_another_size_is_refused():
    tracker = started(film().frame(0))
    with pytest.raises(InputError, match="resize the mask"):
        tracker.reanchor(1, np.ones((10, 10), dtype=bool))


def test_steering_moves_what_is_not_seen_into_the_core_and_leaves_what_is():
    flat = np.full((*SIZE_HW, 3), 90, dtype=np.uint8)
    flat[40:140, 60:180] = textured_picture((100, 120), 5)
    points = np.array([[100.0, 80.0], [140.0, 100.0], [20.0, 20.0], [220.0, 160.0]])
    tracker = started(flat, points, every=1)
    tracker.advance(frame(flat, 1))
    assert tracker.status(1).tolist() == [TRACKED, TRACKED, CARRIED, CARRIED]
    mask = disc((200, 100), 30)
    assert tracker.steer(1, mask, core=0.5) == 2
    where = tracker.positions(1)
    assert np.abs(where[:2] - points[:2]).max() < 0.5
    assert (np.hypot(*(where[2:] - (200, 100)).T) <= 16).all()
    assert tracker.surely_seen(1).shape == (2, 2)


def test_steering_finds_a_lost_trace_again_and_an_empty_mask_moves_nothing():
    video, other = film(frames=4), textured_picture(SIZE_HW, 99)
    tracker = started(video.frame(0))
    tracker.advance(frame(video.frame(1), 1))
    tracker.advance(frame(other, 2))
    assert len(tracker.surely_seen(1)) == 0
    assert tracker.steer(1, np.zeros(SIZE_HW, dtype=bool), core=0.4) == 0
    assert tracker.lost(1)
    assert tracker.steer(1, disc((100, 80), 30), core=0.4) == 40
    assert not tracker.lost(1)
    assert (np.hypot(*(tracker.positions(1) - (100, 80)).T) <= 30).all()


def distance_to(mask, points):
    row, column = np.nonzero(mask)
    return [np.hypot(column - x, row - y).min() for x, y in points]


@pytest.mark.parametrize("centre", [(60, 50), (0, 0), (SIZE_HW[1] - 1, SIZE_HW[0] - 1)])
def test_the_nearest_pixel_is_found_wherever_mask_and_points_lie(centre):
    """Only the part of the frame that holds both is looked at."""
    mask = disc(centre, 15)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (60, 2)) * (SIZE_HW[1] - 1, SIZE_HW[0] - 1)
    points = points[~mask[points[:, 1].round().astype(int), points[:, 0].round().astype(int)]]
    found = nearest_on_mask(points, mask)
    assert all(mask[int(y), int(x)] for x, y in found)
    moved = np.hypot(*(found - points).T)
    assert moved == pytest.approx(distance_to(mask, points), abs=1.5)


@pytest.mark.parametrize("centre", [(60, 50), (0, 0), (SIZE_HW[1] - 1, 40)])
def test_the_core_is_as_deep_as_in_the_whole_frame(centre):
    mask = disc(centre, 15)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    assert np.array_equal(core_of(mask, 0.4), mask & (depth >= 0.4 * depth.max()))
