"""The tracker against known motion, in the small; the benchmark runs the same code at length."""

import numpy as np
import pytest

from tracevlm_ros.core.tracking import LOST
from tracevlm_ros.evaluation.tracking_accuracy import (
    FrameResult,
    follow_video,
    random_points,
    summarize_coverage,
    summarize_errors,
    time_tracker,
)
from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture

SIZE_HW = (180, 240)


@pytest.fixture(scope="module")
def video():
    picture, cover = textured_picture(SIZE_HW, 1), textured_picture((160, 160), 7)
    return WarpedVideo(picture=picture, size_hw=SIZE_HW, frames=25, cover=cover)


@pytest.fixture(scope="module")
def results(video):
    return follow_video(video, random_points(SIZE_HW, 40, 3))


def test_every_frame_after_the_first_is_judged_for_every_point(video, results):
    assert len(results) == video.frames - 1
    assert all(len(frame.error_px) == len(frame.status) == 40 for frame in results)


def test_only_visible_points_have_an_error(results):
    for frame in results:
        assert np.isnan(frame.error_px[~frame.visible]).all()
        assert np.isfinite(frame.error_px[frame.visible]).all()


def test_the_goals_of_accuracy_hold_and_plain_flow_drifts_more(results):
    errors = summarize_errors([results])
    assert errors["step_median_px"] <= 0.1
    assert errors["step_p95_px"] <= 1.0
    assert errors["drift_median_px"] <= 0.5
    assert errors["plain_drift_p95_px"] > errors["drift_p95_px"]


def test_the_goals_of_coverage_hold(results):
    shares = summarize_coverage([results])
    assert shares["newly_covered_points"] > 10
    assert shares["newly_covered_rejected"] >= 0.9
    assert shares["visible_kept"] >= 0.9


def test_a_lost_point_that_is_visible_counts_against_the_tracker():
    frame = FrameResult(
        np.array([0.0, 3.0]),
        np.array([0.0, 1.0]),
        np.array([2, LOST], dtype=np.int8),
        np.array([True, True]),
        np.array([False, False]),
    )
    covered = frame._replace(newly_covered=np.array([True, True]))
    assert summarize_coverage([[frame, covered]])["visible_kept"] == 0.5
    assert summarize_coverage([[frame, covered]])["newly_covered_rejected"] == 0.5
    assert summarize_errors([[frame]])["step_median_px"] == 1.5


def test_times_are_told_by_the_clock_and_of_the_processor(video):
    times = time_tracker([video.frame(index) for index in range(5)], random_points(SIZE_HW, 9, 0))
    assert times["frames"] == 3
    assert 0 < times["cpu_min_ms"] <= times["cpu_median_ms"] <= times["cpu_p95_ms"]
    assert times["median_ms"] > 0
