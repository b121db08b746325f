"""Points stay on what they pointed at; known motion is the reference."""

import numpy as np
import pytest

from tests.core.tracking.scenes import SIZE_HW, errors, film, frame, started, stroke
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.tracking import LOST, TRACKED, TraceTracker
from tracevlm_ros.synthetic.warped_video import textured_picture


def test_all_raw_points_follow_the_camera():
    video = film(frames=12, pace=2.0)
    tracker, points = started(video.frame(0)), stroke()
    for index in range(1, video.frames):
        motion = tracker.advance(frame(video.frame(index), index))
        assert motion.ok
        assert not motion.cut
        assert np.median(errors(tracker, video, points, index)) < 0.2
    assert errors(tracker, video, points, video.frames - 1).max() < 1.0
    assert not tracker.lost(1)


def test_the_homography_maps_the_previous_frame_to_this_one():
    video = film(frames=3, pace=2.0)
    tracker = TraceTracker()
    tracker.advance(frame(video.frame(0)))
    motion = tracker.advance(frame(video.frame(1)))
    grid = np.array([[20.0, 20.0], [220.0, 30.0], [30.0, 160.0], [200.0, 150.0]])
    ends = np.c_[grid, np.ones(4)] @ motion.homography.T
    assert np.abs(ends[:, :2] / ends[:, 2:] - video.truth(grid, 1)).max() < 0.3
    assert motion.homography[2, 2] == 1.0
    assert motion.inlier_share > 0.8


def test_errors_do_not_add_up_over_a_hundred_frames():
    video = film(seed=5, frames=101)
    tracker, points = started(video.frame(0)), stroke()
    for index in range(1, video.frames):
        tracker.advance(frame(video.frame(index), index))
    assert np.median(errors(tracker, video, points, 100)) < 0.5


def test_points_follow_an_object_that_moves_against_the_background():
    background = textured_picture(SIZE_HW, 1)
    thing = textured_picture((70, 80), 9)
    points = stroke((75, 90), 22)

    def picture(index):
        image = background.copy()
        image[55:125, 35 + 4 * index : 115 + 4 * index] = thing
        return image

    tracker = started(picture(0), points)
    for index in range(1, 12):
        tracker.advance(frame(picture(index), index))
    assert np.abs(tracker.positions(1) - (points + np.array([44, 0]))).max() < 1.0
    assert (tracker.status(1)[::4] == TRACKED).mean() > 0.8


def test_covered_keypoints_are_not_called_seen_and_the_rest_is():
    video = film(
        seed=2, frames=40, pace=0.5, cover=textured_picture((160, 160), 77), cover_share=0.5
    )
    points = np.stack(np.meshgrid(np.arange(25, 220, 20), np.arange(25, 160, 20)), -1).reshape(
        -1, 2
    )
    tracker = started(video.frame(0), points, every=1)
    was_covered = video.covered(points.astype(float), 0)
    newly, seen = [], []
    for index in range(1, video.frames):
        tracker.advance(frame(video.frame(index), index))
        truth = video.truth(points, index)
        covered = video.covered(truth, index)
        inside = np.all((truth > 4) & (truth < np.array(SIZE_HW[::-1]) - 5), axis=1)
        status = tracker.status(1)
        newly.append(status[covered & ~was_covered & inside])
        seen.append(status[~covered & inside])
        was_covered = covered
    newly, seen = np.concatenate(newly), np.concatenate(seen)
    assert len(newly) > 20
    assert (newly == LOST).mean() >= 0.9
    assert (seen != LOST).mean() >= 0.9


def test_a_keypoint_is_seen_again_when_what_covered_it_has_passed():
    video = film(seed=2, frames=40, pace=0.3, cover=textured_picture((160, 160), 77))
    points = stroke((120, 90), 12, 12)
    tracker = started(video.frame(0), points, every=1)
    lost, hidden = [], []
    for index in range(1, video.frames):
        tracker.advance(frame(video.frame(index), index))
        lost.append(tracker.lost(1))
        if video.covered(video.truth(points, index), index).all():
            hidden.append(tracker.status(1) == TRACKED)
    assert len(hidden) > 5
    assert np.mean(hidden) < 0.1
    assert any(lost)
    assert not lost[-1]
    assert (tracker.status(1) == TRACKED).mean() > 0.8
    assert np.median(errors(tracker, video, points, video.frames - 1)) < 0.3


def test_points_that_leave_the_image_are_lost_and_come_back():
    scene = textured_picture((180, 400), 3)
    points = stroke((60, 90), 20)
    offsets = [*range(0, 112, 8), *range(104, -8, -8)]
    tracker = started(scene[:, :240], points)
    states = []
    for index, left in enumerate(offsets[1:], 1):
        tracker.advance(frame(np.ascontiguousarray(scene[:, left : left + 240]), index))
        states.append(tracker.lost(1))
    assert states[len(offsets) // 2 - 1]
    assert not states[-1]
    off = np.abs(tracker.positions(1) - points)
    assert np.median(off) < 0.1
    assert off.max() < 2.0


def test_a_trace_grows_while_the_camera_moves():
    video = film(frames=10, pace=2.0)
    points = stroke()
    tracker = started(video.frame(0), points[:10], every=3)
    for index in range(1, 10):
        tracker.advance(frame(video.frame(index), index))
        tracker.extend(1, video.truth(points[10 * index % 40 : 10 * index % 40 + 1], index))
        tracker.set_keypoints(1, [0, 5, 9, 9 + index])
    assert len(tracker.positions(1)) == 19
    assert errors(tracker, video, points[:10], 9)[[0, 5, 9]].max() < 0.5


def test_two_runs_give_the_same_positions():
    video = film(frames=6)

    def run():
        tracker = started(video.frame(0))
        for index in range(1, 6):
            tracker.advance(frame(video.frame(index), index))
        return tracker.positions(1)

    assert np.array_equal(run(), run())


def test_reset_forgets_traces_and_the_previous_frame():
    tracker = started(film().frame(0))
    tracker.reset()
    motion = tracker.advance(frame(textured_picture((90, 90), 8)))
    assert motion.ok
    assert not motion.cut
    with pytest.raises(InputError, match="no trace 1; known: none"):
        tracker.positions(1)


def test_forgotten_traces_are_gone_and_others_stay():
    tracker = started(film().frame(0))
    tracker.extend(2, stroke())
    tracker.forget(1)
    assert len(tracker.positions(2)) == 40
    with pytest.raises(InputError, match="no trace 1; known: 2"):
        tracker.status(1)
