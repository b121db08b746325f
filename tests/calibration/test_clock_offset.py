import numpy as np
import pytest

from calibration.clock_offset import ClockOffset, Motion, estimate_offset, masked_correlations
from tracevlm_ros.core.errors import InputError

START_NS = 1_700_000_000_000_000_000


def head_path(seconds: np.ndarray) -> np.ndarray:
    """Where a far thing is in the picture while the head turns: smooth, never periodic."""
    tones = np.array([0.21, 0.53, 0.97, 1.43])
    x = np.sin(2 * np.pi * np.outer(seconds, tones) + [0.1, 1.0, 2.0, 3.0]) @ [90, 50, 25, 12]
    y = np.sin(2 * np.pi * np.outer(seconds, tones * 0.8) + [2.0, 0.4, 1.1, 0.2]) @ [40, 30, 20, 9]
    return np.stack([x, y], axis=1)


def recording(
    offset_ms: float, length_s: float = 30.0, drift_ppm: float = 0.0, seed: int = 0
) -> tuple[Motion, Motion]:
    """Gaze at 120 Hz with noise, saccades and blinks on a clock that is off; camera at 30 Hz."""
    rng = np.random.default_rng(seed)
    camera_s = np.arange(0, length_s, 1 / 30)
    camera = Motion(
        START_NS + np.round(camera_s * 1e9).astype(np.int64),
        head_path(camera_s) + rng.normal(0, 0.2, (len(camera_s), 2)),
    )
    true_s = np.arange(0.5, length_s - 0.5, 1 / 120)
    saccades = np.cumsum(rng.random(len(true_s)) < 2 / 120)
    jumps = rng.uniform(-200, 200, (int(saccades.max()) + 1, 2))
    gaze_xy = head_path(true_s) + jumps[saccades] + rng.normal(0, 1.0, (len(true_s), 2))
    gaze_xy[300:320] = np.nan
    own_s = true_s * (1 - drift_ppm * 1e-6) - offset_ms / 1e3
    return Motion(START_NS + np.round(own_s * 1e9).astype(np.int64), gaze_xy), camera


def error_ms(found: ClockOffset, wanted_ms: float, at_s: float = 0.0) -> float:
    return abs(found.offset_ns / 1e6 + found.drift_ppm * at_s / 1e3 - wanted_ms)


@pytest.mark.parametrize("offset_ms", [-320.0, -41.3, 0.0, 7.7, 250.0])
def test_the_offset_is_found_within_five_milliseconds(offset_ms: float) -> None:
    found = estimate_offset(*recording(offset_ms))
    assert error_ms(found, offset_ms) <= 5.0
    assert found.drift_ppm == 0.0


def test_drift_is_told_from_offset_over_minutes() -> None:
    found = estimate_offset(*recording(40.0, length_s=300.0, drift_ppm=200.0))
    assert found.drift_ppm == pytest.approx(200.0, abs=30.0)
    assert error_ms(found, 40.0) <= 5.0


def test_recordings_that_never_overlap_are_refused() -> None:
    gaze, camera = recording(0.0)
    late = Motion(gaze.stamp_ns + 3_600_000_000_000, gaze.xy_px)
    with pytest.raises(InputError, match="overlap"):
        estimate_offset(late, camera)


def test_motion_that_has_nothing_in_common_is_refused() -> None:
    gaze, camera = recording(0.0)
    noise = np.random.default_rng(9).normal(0, 30, gaze.xy_px.shape)
    with pytest.raises(InputError, match="do not agree"):
        estimate_offset(Motion(gaze.stamp_ns, noise), camera)


def test_stamps_that_do_not_rise_are_refused() -> None:
    gaze, camera = recording(0.0)
    with pytest.raises(InputError, match="rising"):
        estimate_offset(Motion(gaze.stamp_ns[::-1], gaze.xy_px), camera)


def plain_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two (G, 2) signals, each column's mean removed: the definition."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_correlations_by_fourier_transform_equal_the_definition() -> None:
    rng = np.random.default_rng(11)
    first, second = rng.normal(3, 40, (211, 2)), rng.normal(-5, 60, (260, 2))
    first_known, second_known = rng.random(211) < 0.8, rng.random(260) < 0.7
    second_known[200:] = False
    found = masked_correlations(first, first_known, second, second_known, least=100)
    for lag, value in enumerate(found):
        part = slice(lag, lag + 211)
        both = first_known & second_known[part]
        if both.sum() < 100:
            assert value == 0.0
        else:
            assert value == pytest.approx(plain_correlation(first[both], second[part][both]))
    assert np.count_nonzero(found) > 10
