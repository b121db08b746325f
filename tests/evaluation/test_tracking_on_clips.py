"""Shares of keypoints that stay on their object, on a clip made for the test."""

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.tracking_on_clips import follow_clips, inside_mask, share_table
from tracevlm_ros.synthetic.warped_video import textured_picture

FRAMES = 6
STEP_PX = 4


@pytest.fixture
def davis(tmp_path):
    """One clip: a textured square that moves over a textured background."""
    background, thing = textured_picture((120, 200), 1), textured_picture((50, 50), 2)
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder / "square").mkdir(parents=True)
    for index in range(FRAMES):
        image, mask = background.copy(), np.zeros((120, 200), dtype=np.uint8)
        where = np.s_[30:80, 40 + STEP_PX * index : 90 + STEP_PX * index]
        image[where], mask[where] = thing, 255
        cv2.imwrite(str(tmp_path / "JPEGImages" / "square" / f"{index:05}.jpg"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / "Annotations" / "square" / f"{index:05}.png"), mask)
    corners = np.array([[50, 40], [80, 40], [80, 70], [50, 70]], dtype=float)
    stroke = np.concatenate([np.linspace(*pair, 9) for pair in pairwise(corners)])
    timed = np.column_stack([stroke, np.arange(len(stroke)) / 60]).tolist()
    (tmp_path / "strokes.json").write_text(json.dumps({"square": {"stroke_xyt": timed}}))
    return tmp_path


def test_keypoints_stay_on_an_object_that_moves(davis):
    (clip,) = follow_clips(davis)
    assert (clip.name, len(clip.inside)) == ("square", FRAMES - 1)
    assert clip.keypoints >= 4
    assert (clip.inside == 1.0).all()
    assert clip.lost.max() < 0.5


def test_the_table_ends_with_the_mean_and_short_clips_count_with_their_last_frame(davis):
    clips = follow_clips(davis)
    other = clips[0]._replace(name="none", inside=np.zeros(20), lost=np.ones(20))
    rows = share_table([*clips, other._replace(plain_inside=np.zeros(20))], (2, 10))
    assert [row["clip"] for row in rows] == ["square", "none", "mean"]
    assert rows[0]["inside_10"] == rows[0]["inside_end"] == 1.0
    assert rows[-1]["inside_10"] == 0.5
    assert rows[-1]["keypoints"] == 2 * clips[0].keypoints


def test_points_outside_or_not_finite_are_on_no_mask():
    mask = np.ones((4, 5), dtype=bool)
    points = np.array([[0, 0], [4.4, 3.4], [4.6, 0], [-0.6, 0], [np.nan, 1]])
    assert inside_mask(points, mask).tolist() == [True, True, False, False, False]


def test_a_folder_without_strokes_is_named(tmp_path):
    with pytest.raises(InputError, match=r"strokes\.json.*set --data"):
        follow_clips(tmp_path)
