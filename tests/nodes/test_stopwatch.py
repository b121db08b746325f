import numpy as np

from tracevlm_ros.nodes.stopwatch import RATE_WINDOW_S, WINDOW, Stopwatch


def test_percentiles_are_those_of_the_durations_in_milliseconds() -> None:
    stopwatch = Stopwatch()
    durations_s = np.random.default_rng(0).uniform(0.001, 0.1, 200)
    for duration_s in durations_s:
        stopwatch.add("stage", 5.0, 5.0 + duration_s)
    found = stopwatch.percentiles()["stage"]
    assert found.samples == 200
    np.testing.assert_allclose(
        (found.p50_ms, found.p95_ms, found.p99_ms),
        np.percentile(durations_s * 1e3, (50, 95, 99)),
        rtol=1e-9,
    )


def test_only_the_newest_durations_count() -> None:
    stopwatch = Stopwatch()
    for _ in range(WINDOW):
        stopwatch.add("stage", 0.0, 9.0)
    for _ in range(WINDOW):
        stopwatch.add("stage", 0.0, 1.0)
    assert stopwatch.percentiles()["stage"].p99_ms == 1000.0


def test_rates_fall_to_zero_when_nothing_comes_and_totals_stay() -> None:
    stopwatch = Stopwatch()
    for index in range(10):
        stopwatch.event("image", 100.0 + index * 0.1)
    assert stopwatch.rates_hz(101.0) == {"image": 10 / RATE_WINDOW_S}
    assert stopwatch.rates_hz(200.0) == {"image": 0.0}
    assert stopwatch.totals() == {"image": 10}
