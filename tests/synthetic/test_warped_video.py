"""The stated motion of a warped video is the motion of its pixels."""

import cv2
import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture


def test_pixels_move_as_the_truth_says():
    video = WarpedVideo(picture=textured_picture((120, 160), 1), size_hw=(120, 160), noise=0.0)
    first, later = video.frame(0), video.frame(7)
    back = cv2.warpPerspective(later, np.linalg.inv(video.camera(7)), (160, 120))
    middle = (slice(30, 90), slice(40, 120))
    difference = np.abs(back[middle].astype(int) - first[middle].astype(int))
    unmoved = np.abs(later[middle].astype(int) - first[middle].astype(int))
    assert difference.mean() < 0.2 * unmoved.mean()


def test_covered_points_show_the_cover():
    picture = np.full((100, 100, 3), 50, dtype=np.uint8)
    cover = np.full((100, 100, 3), 200, dtype=np.uint8)
    video = WarpedVideo(picture=picture, cover=cover, size_hw=(90, 120), frames=11, noise=0.0)
    column, row = np.meshgrid(np.arange(120), np.arange(90))
    points = np.stack([column.ravel(), row.ravel()], axis=1).astype(float)
    shown = video.frame(5)[row.ravel(), column.ravel(), 0] > 125
    assert 0.05 < shown.mean() < 0.5
    assert (shown == video.covered(points, 5)).mean() > 0.99


def test_frames_depend_on_nothing_but_the_arguments():
    first, second = (
        WarpedVideo(picture=textured_picture((60, 80), 2), size_hw=(60, 80)) for _ in range(2)
    )
    assert np.array_equal(first.frame(3), second.frame(3))


def test_a_video_of_one_frame_is_refused():
    with pytest.raises(ConfigError, match="frames is 1"):
        WarpedVideo(picture=textured_picture((60, 80), 2), frames=1)
