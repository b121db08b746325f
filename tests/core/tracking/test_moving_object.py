"""Objects that move against the scene: plain surfaces on them, and the scene showing instead."""

import cv2
import numpy as np

from tests.core.tracking.scenes import SIZE_HW, frame, started
from tracevlm_ros.core.tracking.keypoint_step import shared_motion
from tracevlm_ros.core.tracking.sighting import Sightings
from tracevlm_ros.synthetic.warped_video import textured_picture

STEP_PX = 6
BACKGROUND = textured_picture(SIZE_HW, 1)


def picture(thing, left):
    image = BACKGROUND.copy()
    image[55 : 55 + thing.shape[0], left : left + thing.shape[1]] = thing
    return image


def sightings_of(xy, matched):
    seen = np.ones(len(xy), dtype=bool)
    return Sightings(xy, np.ones(len(xy)), matched, seen, seen)


def test_points_that_slipped_onto_the_scene_do_not_stop_a_trace_that_moves_by_itself():
    expected = np.stack([np.arange(10.0) * 9, np.arange(10.0) * 5], axis=1)
    xy = expected + np.where(np.arange(10) < 7, 0.0, 8.0)[:, None]
    nothing_matched = np.zeros(10, dtype=bool)
    motion, agree = shared_motion(
        expected, sightings_of(xy, nothing_matched), 2.0, np.array([8.0, 8.0])
    )
    assert np.abs(motion.shift - 8.0).max() < 0.1
    assert agree.tolist() == [False] * 7 + [True] * 3
    at_rest, _ = shared_motion(expected, sightings_of(xy, nothing_matched), 2.0, np.zeros(2))
    assert np.abs(at_rest.shift).max() < 0.1


def test_an_object_that_stops_and_looks_as_at_first_stops_its_trace():
    expected = np.stack([np.arange(10.0) * 9, np.arange(10.0) * 5], axis=1)
    all_matched = np.ones(10, dtype=bool)
    motion, agree = shared_motion(
        expected, sightings_of(expected, all_matched), 2.0, np.array([8.0, 8.0])
    )
    assert np.abs(motion.shift).max() < 1e-9
    assert agree.all()


def test_keypoints_with_little_structure_follow_their_own_part_of_an_object_that_shrinks():
    """The left of the object is faint and gets narrower by a pixel a frame; the right is rigid."""
    right = textured_picture((70, 50), 9)
    noise = textured_picture((70, 70), 5).astype(float) - 128
    left = np.clip(128 + 0.1 * noise, 0, 255).astype(np.uint8)

    def frame_at(index):
        narrowed = cv2.resize(left, (70 - index, 70), interpolation=cv2.INTER_AREA)
        return picture(np.concatenate([narrowed, right], axis=1), 35 + (STEP_PX + 1) * index)

    faint = np.stack([np.linspace(50, 85, 5), np.full(5, 90.0)], axis=1)
    rigid = np.stack([np.linspace(115, 145, 8), np.linspace(70, 110, 8)], axis=1)
    tracker = started(frame_at(0), np.concatenate([faint, rigid]), every=1)
    for index in range(1, 13):
        tracker.advance(frame(frame_at(index), index))
    found = tracker.positions(1)
    assert np.abs(found[5:] - rigid - (12 * STEP_PX, 0)).max() < 1.0
    joint = 105 + 12 * STEP_PX
    expected = joint - (105 - faint[:, 0]) * 58 / 70
    assert np.abs(found[:5, 0] - expected).max() < 2.0
