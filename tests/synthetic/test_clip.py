import cv2
import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.synthetic.clip import Clip, ClipConfig
from tracevlm_ros.synthetic.motion import camera_from_world, sample_wave

SMALL = ClipConfig(seed=5, seconds=2.0, height=120, width=160, objects=5)


def test_two_clips_of_one_config_agree_in_any_order_of_asking():
    one, two = Clip(SMALL), Clip(SMALL)
    late, early = one.frame_at(9), one.frame_at(2)
    again_early, again_late = two.frame_at(2), two.frame_at(9)
    assert np.array_equal(late.image_rgb, again_late.image_rgb)
    assert np.array_equal(early.image_rgb, again_early.image_rgb)
    assert np.array_equal(late.labels, again_late.labels)
    assert late.scene == again_late.scene
    assert not np.array_equal(late.image_rgb, early.image_rgb)


def test_frames_come_at_their_rate_from_the_start():
    frames = list(Clip(SMALL).frames())
    assert len(frames) == SMALL.frame_count == 30
    assert frames[0].stamp_ns == SMALL.start_ns
    assert frames[15].stamp_ns == SMALL.start_ns + 1_000_000_000


def test_objects_and_camera_move_smoothly():
    clip = Clip(SMALL)
    times = np.arange(0, 2, 1 / 120)
    for index in range(len(clip.objects)):
        places = np.array([clip.object_px(index, t, (0.0, 0.0)) for t in times.tolist()])
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1)
        jerk = np.linalg.norm(np.diff(places, 2, axis=0), axis=1)
        assert speed.max() > 0.01
        assert speed.max() < 4.0
        assert jerk.max() < 0.5


def test_the_label_lies_where_the_object_is_said_to_be():
    clip = Clip(SMALL)
    checked = 0
    for index in (0, 12, 25):
        frame = clip.frame_at(index)
        front = len(clip.objects) - 1
        shape = clip.objects[front].item.shape
        local = (-0.7, 0.0) if shape in ("ring", "crescent") else (0.0, 0.0)
        x, y = np.round(clip.object_px(front, index / 15.0, local)).astype(int)
        if 0 <= x < 160 and 0 <= y < 120:
            assert frame.labels[y, x] == front + 1
            checked += 1
    assert checked


def test_the_background_moves_with_the_pose():
    config = ClipConfig(
        seed=3, height=120, width=160, objects=1, noise=0.0, background="clutter", pan=0.2
    )
    clip = Clip(config)
    one, two = clip.frame_at(0), clip.frame_at(30)
    first = np.vstack([camera_from_world(one.pose, (120, 160)), [0, 0, 1]])
    second = np.vstack([camera_from_world(two.pose, (120, 160)), [0, 0, 1]])
    carry = (second @ np.linalg.inv(first))[:2]
    carried = cv2.warpAffine(one.image_rgb, carry, (160, 120)).astype(float)
    blank = cv2.warpAffine(np.full((120, 160), 255, np.uint8), carry, (160, 120)) < 255
    labels = cv2.warpAffine(one.labels, carry, (160, 120), flags=cv2.INTER_NEAREST)
    still = ~(cv2.dilate((labels | two.labels | blank).astype(np.uint8), np.ones((5, 5))) > 0)
    assert still.mean() > 0.3
    moved = np.abs(carried - two.image_rgb)[still].mean()
    unmoved = np.abs(one.image_rgb.astype(float) - two.image_rgb)[still].mean()
    assert moved < 0.5 * unmoved


def test_objects_are_told_apart_by_colour_and_shape_and_come_in_every_size():
    items = [moving.item for moving in Clip(ClipConfig(objects=12, world_scale=2.0)).objects]
    assert len({(item.colour, item.shape) for item in items}) == 12
    assert {item.size for item in items} == {"small", "medium", "large"}


def test_a_wave_never_exceeds_its_peak():
    rng = np.random.default_rng(0)
    for _ in range(20):
        wave = sample_wave(rng, 0.3, (1.0, 5.0), 3)
        values = [wave.at(t) for t in np.linspace(0, 20, 400)]
        assert max(map(abs, values)) <= 0.3 + 1e-12


def test_objects_that_find_no_room_are_refused_with_a_remedy():
    with pytest.raises(ConfigError, match=r"objects is 40, but only .* raise world_scale"):
        Clip(ClipConfig(objects=40, world_scale=1.0))
    with pytest.raises(ConfigError, match="seconds is 0"):
        ClipConfig(seconds=0)
