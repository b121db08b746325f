"""Cut-outs move, bend, and have the mask of what is drawn."""

import numpy as np

from tracevlm_ros.synthetic.cutout_clip import CutoutClip
from tracevlm_ros.synthetic.warped_video import textured_picture


def clip(seed: int = 0) -> CutoutClip:
    photo = np.full((80, 100, 3), (200, 30, 30), dtype=np.uint8)
    row, column = np.indices((80, 100))
    outline = np.hypot(row - 40, column - 50) < 25
    ground = textured_picture((80, 100), 2) // 3
    return CutoutClip(photo=photo, outline=outline, ground=ground, size_hw=(90, 160), seed=seed)


def test_the_mask_is_where_the_thing_is_drawn() -> None:
    for index in (0, 20, 45):
        image, mask = clip().frame(index)
        is_red = image[..., 0].astype(int) - image[..., 1] > 80
        assert (is_red & mask).sum() / (is_red | mask).sum() > 0.9
        assert 0.04 < mask.mean() < 0.25


def test_the_thing_moves_and_changes_its_shape() -> None:
    masks = [clip().frame(index).mask for index in (0, 15, 30)]
    assert len({int(mask.sum()) for mask in masks}) == 3
    places = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
    assert np.ptp(places, axis=0).max() > 3


def test_a_clip_is_the_same_whenever_it_is_asked_and_another_with_another_seed() -> None:
    first, again, other = clip().frame(9), clip().frame(9), clip(1).frame(9)
    assert np.array_equal(first.image_rgb, again.image_rgb)
    assert not np.array_equal(first.mask, other.mask)
