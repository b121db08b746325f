import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera_motion import camera_motion
from calibration.clock_offset import Motion, estimate_offset
from tests.calibration.test_clock_offset import head_path
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, Image
from tracevlm_ros.ingest.gaze_recordings import open_gaze
from tracevlm_ros.ingest.video import read_video
from tracevlm_ros.synthetic.warped_video import textured_picture

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[3] / "shared" / "data"))
TOBII = DATA / "gaze" / "tobii_glasses_video"
needs_tobii = pytest.mark.skipif(
    not TOBII.is_dir(), reason=f"{TOBII} is absent: set TRACEVLM_DATA to the folder of real data"
)


def turning_head(seconds: np.ndarray, scale: float = 0.4) -> list[Frame]:
    """A far wall seen while the head follows ``head_path``, 320 x 240."""
    wall = textured_picture((600, 800), seed=3)
    frames = []
    for second, (x, y) in zip(seconds, head_path(seconds) * scale, strict=True):
        shift = np.array([[1, 0, x - 240], [0, 1, y - 180]], dtype=np.float64)
        image = cv2.warpAffine(wall, shift, (320, 240), flags=cv2.INTER_LINEAR)
        frames.append(Frame(1_000_000_000 + round(second * 1e9), np.asarray(image, np.uint8)))
    return frames


def test_the_path_of_the_picture_is_the_camera_s_within_half_a_pixel() -> None:
    seconds = np.arange(0, 3, 1 / 30)
    motion = camera_motion(turning_head(seconds))
    wanted = head_path(seconds) * 0.4
    np.testing.assert_allclose(motion.xy_px, wanted - wanted[0], atol=0.5)


@pytest.mark.parametrize("offset_ms", [-140.0, 0.0, 63.0])
def test_a_rendered_clip_and_gaze_on_one_thing_give_the_offset_within_five_milliseconds(
    offset_ms: float,
) -> None:
    camera = camera_motion(turning_head(np.arange(0, 12, 1 / 25)))
    rng = np.random.default_rng(1)
    true_s = np.arange(0.3, 11.7, 1 / 100)
    xy = 0.4 * head_path(true_s) + rng.normal(0, 0.5, (len(true_s), 2))
    own_ns = 1_000_000_000 + np.round((true_s - offset_ms / 1e3) * 1e9).astype(np.int64)
    found = estimate_offset(Motion(own_ns, xy), camera)
    assert abs(found.offset_ns / 1e6 - offset_ms) <= 5.0


def test_no_speed_is_taken_across_a_cut() -> None:
    frames = turning_head(np.arange(0, 1, 1 / 30))
    other: Image = textured_picture((240, 320), seed=99)
    frames[12:] = [frame._replace(image_rgb=other) for frame in frames[12:]]
    xy = camera_motion(frames).xy_px
    assert np.isnan(xy[12]).all()
    assert np.isfinite(xy[13:]).all()


def test_too_few_frames_and_stamps_that_fall_are_refused() -> None:
    frames = turning_head(np.arange(0, 1, 1 / 30))
    with pytest.raises(InputError, match="9 frames are too few"):
        camera_motion(frames[:9])
    with pytest.raises(InputError, match="do not rise"):
        camera_motion(reversed(frames))


@needs_tobii
def test_known_shifts_of_the_tobii_clip_are_recovered_within_five_milliseconds() -> None:
    """The clip's camera and stamps are real; its gaze is replaced by one that stays on the scene,
    because the wearer's own does not (see the next test)."""
    frames = list(read_video(TOBII / "worldCamera.mp4"))
    camera = camera_motion(frames)
    stamps = np.array([s.stamp_ns for s in open_gaze(TOBII / "gazeData_world.tsv").samples((1, 1))])
    own_ns = stamps - stamps[0]
    frame_ns = np.array([frame.stamp_ns for frame in frames])
    path = scene_by_phase_correlation(frames)
    gaze_xy = np.stack([np.interp(own_ns, frame_ns, path[:, axis]) for axis in (0, 1)], axis=1)
    gaze_xy += np.random.default_rng(0).normal(0, 0.3, gaze_xy.shape)
    gaze_xy[38:] += (80, -30)
    as_recorded = estimate_offset(Motion(own_ns, gaze_xy), camera).offset_ns / 1e6
    assert abs(as_recorded) <= 5.0
    for shift_ms in (-180, -33, -7, 20, 50, 160):
        shifted = Motion(own_ns - shift_ms * 1_000_000, gaze_xy)
        found_ms = estimate_offset(shifted, camera).offset_ns / 1e6
        assert abs(found_ms - as_recorded - shift_ms) <= 5.0


def scene_by_phase_correlation(frames: list[Frame]) -> np.ndarray:
    """An independent measure of the picture's motion, (N, 2) pixels."""
    size = (960, 540)
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    greys = [
        cv2.resize(cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2GRAY), size).astype(np.float32)
        for frame in frames
    ]
    steps = [
        cv2.phaseCorrelate(before, now, window)[0] for before, now in itertools.pairwise(greys)
    ]
    scale = frames[0].image_rgb.shape[1] / size[0]
    return np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0) * scale])


@needs_tobii
def test_the_tobii_wearer_s_own_gaze_is_refused_rather_than_guessed_from() -> None:
    """In its 2 s the eye wanders at its own pace: no shift makes it move with the picture."""
    camera = camera_motion(read_video(TOBII / "worldCamera.mp4"))
    samples = list(open_gaze(TOBII / "gazeData_world.tsv").samples((1080, 1920)))
    stamps = np.array([sample.stamp_ns for sample in samples])
    gaze = Motion(stamps - stamps[0], np.array([[s.x_px, s.y_px] for s in samples]))
    with pytest.raises(InputError, match="do not agree"):
        estimate_offset(gaze, camera)
