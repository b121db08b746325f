"""Frames and points that a robot may really send."""

import numpy as np
import pytest

from tests.core.tracking.scenes import SIZE_HW, errors, film, frame, started, stroke
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.tracking import CARRIED, LOST, TRACKED, TraceTracker, TrackingConfig
from tracevlm_ros.synthetic.warped_video import textured_picture

BLACK = np.zeros((*SIZE_HW, 3), dtype=np.uint8)


def test_a_black_frame_is_passed_over_and_tracking_goes_on():
    video = film(frames=4)
    tracker = started(video.frame(0))
    tracker.advance(frame(video.frame(1), 1))
    before = tracker.positions(1)
    motion = tracker.advance(frame(BLACK, 2))
    assert (motion.cut, motion.ok, motion.reason) == (True, False, "black")
    assert tracker.lost(1)
    assert (tracker.status(1) == LOST).all()
    assert np.array_equal(tracker.positions(1), before)
    motion = tracker.advance(frame(video.frame(3), 3))
    assert motion.ok
    assert not motion.cut
    assert not tracker.lost(1)
    assert np.median(errors(tracker, video, stroke(), 3)) < 0.3
    assert tracker.drops["frame_black"] == 1


def test_a_black_first_frame_does_not_hurt():
    video = film(frames=3)
    tracker = TraceTracker()
    assert tracker.advance(frame(BLACK)).reason == "black"
    assert tracker.advance(frame(video.frame(0), 1)).ok
    tracker.extend(1, stroke())
    tracker.set_keypoints(1, [0, 10, 20, 30])
    assert tracker.advance(frame(video.frame(1), 2)).ok
    assert np.median(errors(tracker, video, stroke(), 1)) < 0.3


def test_a_cut_loses_every_trace_until_the_picture_comes_back():
    video, other = film(frames=6), textured_picture(SIZE_HW, 99)
    tracker = started(video.frame(0))
    tracker.advance(frame(video.frame(1), 1))
    motion = tracker.advance(frame(other, 2))
    assert (motion.cut, motion.ok, motion.reason) == (True, False, "cut")
    assert tracker.lost(1)
    assert not tracker.advance(frame(other, 3)).cut
    assert tracker.lost(1)
    assert tracker.advance(frame(video.frame(4), 4)).cut
    tracker.advance(frame(video.frame(5), 5))
    assert not tracker.lost(1)
    assert np.median(errors(tracker, video, stroke(), 5)) < 1.0
    assert tracker.drops["frame_cut"] == 2


def test_a_new_frame_size_scales_the_points_and_is_told():
    tracker = started(film().frame(0))
    before = tracker.positions(1)
    motion = tracker.advance(frame(textured_picture((360, 480), 4), 1))
    assert (motion.cut, motion.reason) == (True, "size")
    assert tracker.lost(1)
    assert np.allclose(tracker.positions(1), (before + 0.5) * 2 - 0.5)
    ends = np.c_[before, np.ones(len(before))] @ motion.homography.T
    assert np.allclose(ends[:, :2], tracker.positions(1))
    assert tracker.advance(frame(textured_picture((360, 480), 4), 2)).ok
    assert tracker.drops["frame_size_changed"] == 1


@pytest.mark.parametrize("size_hw", [(1, 1), (4, 7), (12, 300)])
def test_tiny_frames_are_survived(size_hw):
    rng = np.random.default_rng(0)
    tracker = TraceTracker()
    for index in range(3):
        image = rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8)
        tracker.advance(frame(image, index))
        tracker.extend(1, [[0.0, 0.0], [1.0, 1.0]])
        tracker.set_keypoints(1, [0])
    assert tracker.positions(1).shape == (6, 2)
    assert np.isfinite(tracker.positions(1)).all()


def test_points_that_are_not_finite_keep_their_place_and_are_lost():
    video = film(frames=4)
    points = stroke()
    points[3] = np.nan
    points[17] = (np.inf, 5)
    tracker = started(video.frame(0), points, every=1)
    for index in range(1, 4):
        tracker.advance(frame(video.frame(index), index))
    bad = [3, 17]
    assert (tracker.status(1)[bad] == LOST).all()
    assert np.isnan(tracker.positions(1)[bad]).all()
    good = np.delete(errors(tracker, video, np.nan_to_num(points, posinf=0.0), 3), bad)
    assert np.median(good) < 0.3
    assert tracker.drops["point_not_finite"] == 2


def test_points_outside_the_image_are_carried_with_the_camera_and_lost():
    video = film(frames=6)
    points = np.concatenate([stroke(), [[-40.0, 90.0], [500.0, 500.0]]])
    tracker = started(video.frame(0), points, every=1)
    for index in range(1, 6):
        tracker.advance(frame(video.frame(index), index))
    assert (tracker.status(1)[-2:] == LOST).all()
    assert errors(tracker, video, points, 5)[-2:].max() < 10
    assert not tracker.lost(1)


def test_a_trace_wholly_outside_is_lost():
    video = film(frames=3)
    tracker = started(video.frame(0), stroke() + 1000)
    tracker.advance(frame(video.frame(1), 1))
    assert tracker.lost(1)


def test_a_trace_without_points_is_kept_and_not_lost():
    video = film(frames=3)
    tracker = started(video.frame(0), np.empty((0, 2)))
    tracker.advance(frame(video.frame(1), 1))
    assert tracker.positions(1).shape == (0, 2)
    assert tracker.status(1).shape == (0,)
    assert not tracker.lost(1)


def test_points_without_keypoints_are_carried_by_the_camera():
    video = film(frames=4, pace=2.0)
    config = TrackingConfig(helpers_per_trace=0)
    tracker = started(video.frame(0), config=config)
    tracker.set_keypoints(1, [])
    for index in range(1, 4):
        tracker.advance(frame(video.frame(index), index))
    assert np.median(errors(tracker, video, stroke(), 3)) < 0.5
    assert (tracker.status(1) == CARRIED).all()


def test_keypoints_on_a_plain_surface_are_carried_not_tracked():
    image = textured_picture(SIZE_HW, 6)
    image[50:130, 70:170] = 128
    points = stroke((120, 90), 15)
    tracker = started(image, points)
    for index in range(1, 5):
        tracker.advance(frame(np.roll(image, 2 * index, axis=1), index))
    assert (tracker.status(1) == CARRIED).all()
    assert not tracker.lost(1)
    assert np.abs(tracker.positions(1) - (points + np.array([8, 0]))).max() < 0.5


def test_points_given_before_the_first_frame_belong_to_it():
    video = film(frames=3)
    tracker = TraceTracker()
    tracker.extend(1, stroke())
    tracker.set_keypoints(1, [0, 10, 20, 30])
    for index in range(3):
        tracker.advance(frame(video.frame(index), index))
    assert np.median(errors(tracker, video, stroke(), 2)) < 0.3
    assert (tracker.status(1)[[0, 10, 20, 30]] == TRACKED).sum() >= 3


def test_arrays_that_are_no_frames_are_refused_by_name():
    tracker = TraceTracker()
    with pytest.raises(InputError, match=r"float64 \(4, 4, 3\)"):
        tracker.advance(frame(np.zeros((4, 4, 3))))
    with pytest.raises(InputError, match=r"uint8 \(4, 4\)"):
        tracker.advance(frame(np.zeros((4, 4), dtype=np.uint8)))
    with pytest.raises(InputError, match="at least one pixel"):
        tracker.advance(frame(np.zeros((0, 4, 3), dtype=np.uint8)))


def test_keypoints_that_are_no_raw_points_are_refused():
    tracker = started(film().frame(0))
    with pytest.raises(InputError, match="keypoint 40 of 40 raw points"):
        tracker.set_keypoints(1, [0, 40])
    with pytest.raises(InputError, match="keypoint -1"):
        tracker.set_keypoints(1, [-1, 2])
    with pytest.raises(InputError, match=r"points are \(3,\)"):
        tracker.extend(1, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "settings",
    [
        {"window_px": 14},
        {"template_px": 3},
        {"gate_px": float("nan")},
        {"doubt_score": 0.95},
        {"recover_share": 0.1},
        {"lost_after": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        TrackingConfig(**settings)
