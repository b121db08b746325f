import numpy as np
import pytest

from tracevlm_ros.core.attention.one_euro import OneEuroConfig, OneEuroFilter
from tracevlm_ros.core.errors import ConfigError

STEP_NS = 8_333_333


def filtered(points: np.ndarray) -> np.ndarray:
    one_euro = OneEuroFilter(OneEuroConfig(), 640.0)
    return np.array([one_euro.add(i * STEP_NS + 1, x, y) for i, (x, y) in enumerate(points)])


def test_noise_at_rest_is_reduced():
    points = np.random.default_rng(0).normal((300, 200), 3.0, (240, 2))
    assert filtered(points)[60:].std(axis=0).max() < 0.5 * points[60:].std(axis=0).min()


def test_fast_movement_is_followed_closely():
    points = np.stack([np.arange(60) * 10.0, np.zeros(60)], axis=1)  # 1200 px/s
    lag_px = points[-1, 0] - filtered(points)[-1, 0]
    assert 0 <= lag_px < 10.0


def test_the_first_point_after_a_restart_stands_for_itself():
    one_euro = OneEuroFilter(OneEuroConfig(), 640.0)
    one_euro.add(1, 0.0, 0.0)
    one_euro.restart()
    assert one_euro.add(2, 500.0, 400.0) == (500.0, 400.0)


def test_a_repeated_stamp_changes_nothing():
    one_euro = OneEuroFilter(OneEuroConfig(), 640.0)
    one_euro.add(1, 1.0, 2.0)
    assert one_euro.add(1, 500.0, 400.0) == (1.0, 2.0)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="min_cutoff_hz"):
        OneEuroConfig(min_cutoff_hz=0)
