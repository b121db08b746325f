import math

import numpy as np
import pytest

from tracevlm_ros.core.attention.dwell import DwellConfig, DwellMap
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError

SIZE_HW = (480, 640)


def fresh(**settings_of: float) -> tuple[DwellMap, Drops]:
    drops = Drops()
    return DwellMap(DwellConfig(**settings_of), drops), drops  # type: ignore[arg-type]


def centre(image: np.ndarray) -> tuple[float, float]:
    mass = image.astype(np.float64)
    rows, columns = np.indices(image.shape)
    return float((columns * mass).sum() / mass.sum()), float((rows * mass).sum() / mass.sum())


def test_an_empty_map_is_black():
    image = fresh()[0].render(SIZE_HW)
    assert image.shape == SIZE_HW
    assert image.dtype == np.uint8
    assert image.max() == 0


def test_the_map_equals_the_sum_of_gaussians():
    dwell, _ = fresh(window_s=5, sigma_share=0.05, full_dwell_s=1.0)
    looks = [(100.0, 200.0, 0.3), (130.0, 210.0, 0.2), (500.0, 100.0, 0.4)]
    for look in looks:
        dwell.add(*look)
    rows, columns = np.indices(SIZE_HW, dtype=np.float64)
    expected = np.zeros(SIZE_HW)
    age_s = 0.0
    for x, y, dt_s in reversed(looks):
        distance2 = (columns - x) ** 2 + (rows - y) ** 2
        expected += dt_s * (1 - age_s / 5) * np.exp(-0.5 * distance2 / (0.05 * 640) ** 2)
        age_s += dt_s
    difference = np.abs(dwell.render(SIZE_HW) - 255 * expected)
    # One level of rounding; per axis, linear enlargement errs by cell^2 / 8 times the curvature.
    enlargement = 2 * 8**2 / 8 * 255 * expected.max() / (0.05 * 640) ** 2
    assert difference.max() < 1.0 + enlargement < 3.5


def test_full_dwell_is_white_and_more_stays_white():
    dwell, _ = fresh(window_s=100, full_dwell_s=1.0)
    for _ in range(300):
        dwell.add(320, 240, 0.01)
    assert dwell.render(SIZE_HW)[240, 320] == 255


def test_looks_fade_and_are_gone_after_the_window():
    dwell, _ = fresh(window_s=2.0)
    dwell.add(320, 240, 0.5)
    fresh_level = dwell.render(SIZE_HW)[240, 320]
    dwell.pass_time(1.0)
    assert dwell.render(SIZE_HW)[240, 320] == pytest.approx(fresh_level / 2, abs=1)
    dwell.pass_time(1.0)
    assert dwell.render(SIZE_HW).max() == 0


def test_looks_move_with_the_camera():
    dwell, _ = fresh(sigma_share=0.03)
    dwell.add(200, 150, 0.5)
    homography = np.array([[1.2, 0.1, 30], [-0.05, 1.1, 12], [1e-4, -5e-5, 1]])
    expected = homography @ (200, 150, 1)
    dwell.move(3.7 * homography)  # a homography has no scale
    assert centre(dwell.render(SIZE_HW)) == pytest.approx(expected[:2] / expected[2], abs=0.5)


def test_many_small_moves_blur_nothing():
    dwell, _ = fresh(sigma_share=0.02)
    dwell.add(320, 240, 0.5)
    before = dwell.render(SIZE_HW)
    there = np.array([[1, 0, 0.3], [0, 1, -0.7], [0, 0, 1]])
    for _ in range(100):
        dwell.move(there)
    for _ in range(100):
        dwell.move(np.linalg.inv(there))
    assert np.abs(dwell.render(SIZE_HW).astype(int) - before).max() <= 1


def test_looks_behind_the_camera_are_dropped_and_counted():
    dwell, drops = fresh()
    dwell.add(320, 240, 0.5)
    dwell.move(np.array([[1, 0, 0], [0, 1, 0], [-1 / 300, 0, 1]]))
    assert dwell.render(SIZE_HW).max() == 0
    assert drops == {"dwell_point_behind": 1}


def test_what_is_no_look_or_no_homography_is_dropped_and_counted():
    dwell, drops = fresh()
    for look in ((math.nan, 1, 0.1), (1, math.inf, 0.1), (1, 1, -0.1), (1, 1, math.nan)):
        dwell.add(*look)
    for homography in (np.full((3, 3), np.nan), np.zeros((3, 3)), np.eye(2)):
        dwell.move(homography)
    assert drops == {"dwell_point_invalid": 4, "dwell_move_invalid": 3}


def test_the_number_of_looks_is_bounded_and_the_oldest_are_counted():
    dwell, drops = fresh(max_points=16, window_s=100)
    for index in range(40):
        dwell.add(100 if index < 24 else 400, 240, 0.1)
    image = dwell.render(SIZE_HW)
    assert image[240, 100] == 0
    assert image[240, 400] > 0
    assert drops == {"dwell_map_full": 24}


@pytest.mark.parametrize("size_hw", [(1, 1), (5, 7), (8, 8), (9, 17), (720, 1280)])
def test_any_size_can_be_drawn(size_hw):
    dwell, _ = fresh()
    dwell.add(0, 0, 0.5)
    image = dwell.render(size_hw)
    assert image.shape == size_hw
    assert image[0, 0] > 0


def test_clear_forgets_everything():
    dwell, _ = fresh()
    dwell.add(320, 240, 0.5)
    dwell.clear()
    assert dwell.render(SIZE_HW).max() == 0


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="window_s"):
        DwellConfig(window_s=0)
