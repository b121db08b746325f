"""Flow of few points, read from a part of the image, equals the flow in the whole."""

import cv2
import numpy as np
import pytest

from tracevlm_ros.core.tracking.flow import follow
from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture


@pytest.fixture(scope="module")
def pair():
    video = WarpedVideo(picture=textured_picture((360, 640), 2), size_hw=(360, 640), frames=6)
    return [cv2.cvtColor(video.frame(index), cv2.COLOR_RGB2GRAY) for index in (0, 5)]


@pytest.mark.parametrize("count", [1, 6, 7])
def test_few_points_go_where_all_together_go(pair, count):
    rng = np.random.default_rng(0)
    points = rng.uniform((-5, -5), (645, 365), (84, 2))
    guess = points + rng.normal(0, 4, points.shape)
    whole = follow(*pair, points, guess, window_px=15, levels=3)
    parts = [
        follow(*pair, points[at : at + count], guess[at : at + count], window_px=15, levels=3)
        for at in range(0, len(points), count)
    ]
    found = np.concatenate([part.found for part in parts])
    assert np.array_equal(found, whole.found)
    assert found.sum() > 60
    xy = np.concatenate([part.xy for part in parts])
    assert np.abs(xy - whole.xy)[found].max() < 0.02


def test_points_that_are_not_finite_are_not_found_and_hinder_no_others(pair):
    points = np.array([[np.nan, 5.0], [300.0, 200.0], [np.inf, 1.0]])
    flow = follow(*pair, points, None, window_px=15, levels=3)
    assert flow.found.tolist() == [False, True, False]


def test_no_points_go_nowhere(pair):
    flow = follow(*pair, np.empty((0, 2)), None, window_px=15, levels=3)
    assert flow.xy.shape == (0, 2)
    assert flow.found.shape == (0,)
