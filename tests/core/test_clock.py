import numpy as np
import pytest

from tracevlm_ros.core.clock import ClockConfig, ClockMapper
from tracevlm_ros.core.errors import ConfigError

MS = 1_000_000
S = 1_000_000_000
FOREIGN_START_NS = 5 * S
OFFSET_NS = 1_699_999_999_999_999_999


def local_of(foreign_ns: int, drift_ppm: float = 0.0) -> int:
    return foreign_ns + OFFSET_NS + round(drift_ppm * 1e-6 * (foreign_ns - FOREIGN_START_NS))


def run(mapper: ClockMapper, seconds: float, drift_ppm: float, seed: int, rate_hz: int = 60) -> int:
    """Messages with 2 ms least latency, exponential jitter, stalls and impossible early ones."""
    rng = np.random.default_rng(seed)
    foreign_ns = FOREIGN_START_NS
    for _ in range(int(seconds * rate_hz)):
        foreign_ns += S // rate_hz
        latency_ms = 2.0 + rng.exponential(3.0)
        if rng.random() < 0.01:
            latency_ms += rng.uniform(0, 2000)
        if rng.random() < 0.002:
            latency_ms -= rng.uniform(0, 5000)
        mapper.add_pair(foreign_ns, local_of(foreign_ns, drift_ppm) + round(latency_ms * MS))
    return foreign_ns


def test_an_unmeasured_clock_is_taken_as_local():
    mapper = ClockMapper()
    assert not mapper.is_ready
    assert mapper.to_local(123) == 123
    assert mapper.report().pair_count == 0


@pytest.mark.parametrize("drift_ppm", [0.0, 45.0, -120.0])
def test_offset_and_drift_are_found_through_jitter_and_outliers(drift_ppm):
    mapper = ClockMapper()
    foreign_ns = run(mapper, 120, drift_ppm, seed=1)
    least_latency_ns = 2 * MS
    error_ns = mapper.to_local(foreign_ns) - local_of(foreign_ns, drift_ppm) - least_latency_ns
    assert abs(error_ns) < 0.2 * MS
    report = mapper.report()
    assert report.drift_ppm == pytest.approx(drift_ppm, abs=1.0)
    assert 1 * MS < report.jitter_ns < 4 * MS
    assert report.jump_count == 0
    assert not report.is_exchange


def test_the_reported_offset_is_the_one_that_is_applied():
    mapper = ClockMapper()
    foreign_ns = run(mapper, 30, 20.0, seed=2)
    assert mapper.report().offset_ns == mapper.to_local(foreign_ns) - foreign_ns


def test_drift_is_not_guessed_from_a_short_stretch():
    mapper = ClockMapper(ClockConfig(drift_after_s=20))
    run(mapper, 15, 300.0, seed=3)
    assert mapper.report().drift_ppm == 0.0


def test_no_nanosecond_is_lost_over_ten_hours_without_drift():
    mapper = ClockMapper()
    hour_ns = 3600 * S
    for hour in range(11):
        for step in range(5):
            foreign_ns = FOREIGN_START_NS + hour * hour_ns + step * S
            mapper.add_pair(foreign_ns, local_of(foreign_ns))
    late_ns = FOREIGN_START_NS + 10 * hour_ns + 123_456_789
    assert mapper.to_local(late_ns) == local_of(late_ns)
    assert mapper.to_local(late_ns + 1) - mapper.to_local(late_ns) == 1


def test_exchanges_see_no_latency_and_overrule_pairs():
    mapper = ClockMapper()
    rng = np.random.default_rng(4)
    foreign_ns = FOREIGN_START_NS
    for _ in range(60):
        foreign_ns += S
        mapper.add_pair(foreign_ns, local_of(foreign_ns, 30.0) + 40 * MS)
        there_ns = round(rng.uniform(0.2, 6.0) * MS)
        back_ns = round(rng.uniform(0.2, 6.0) * MS)
        now_ns = local_of(foreign_ns, 30.0)
        mapper.add_exchange(now_ns - there_ns, foreign_ns, now_ns + back_ns)
    assert abs(mapper.to_local(foreign_ns) - local_of(foreign_ns, 30.0)) < 1 * MS
    assert mapper.report().is_exchange


def test_of_several_exchanges_in_a_second_the_quickest_counts():
    mapper = ClockMapper()
    mapper.add_exchange(S, 100, S + 80 * MS)
    mapper.add_exchange(2 * S, S + 100, 2 * S + 2 * MS)
    slow_ns = S + 200
    mapper.add_exchange(2 * S + 100, slow_ns, 2 * S + 90 * MS)
    quick = ClockMapper()
    quick.add_exchange(S, 100, S + 80 * MS)
    quick.add_exchange(2 * S, S + 100, 2 * S + 2 * MS)
    assert mapper.to_local(slow_ns) == quick.to_local(slow_ns)


def test_an_answer_before_its_question_is_ignored():
    mapper = ClockMapper()
    mapper.add_exchange(S, 100, S - 1)
    assert not mapper.is_ready


def test_a_clock_that_was_set_anew_is_followed_after_its_probation():
    mapper = ClockMapper(ClockConfig(jump_confirm_s=2))
    foreign_ns = run(mapper, 30, 0.0, seed=5)
    reset_ns = 7 * S
    for step in range(60 * 5):
        stamp_ns = reset_ns + step * S // 60
        local_ns = local_of(foreign_ns) + step * S // 60
        mapper.add_pair(stamp_ns, local_ns)
    assert mapper.to_local(stamp_ns) == pytest.approx(local_ns, abs=MS)
    assert mapper.report().jump_count == 1


def test_a_burst_after_a_stall_does_not_count_as_a_jump():
    mapper = ClockMapper()
    foreign_ns = run(mapper, 30, 0.0, seed=6)
    before_ns = mapper.report().offset_ns
    released_ns = local_of(foreign_ns + 3 * S)
    for step in range(180):
        mapper.add_pair(foreign_ns + step * S // 60, released_ns + step * 1000)
    report = mapper.report()
    assert report.jump_count == 0
    assert abs(report.offset_ns - before_ns) < 0.2 * MS


def test_what_is_older_than_the_buckets_is_forgotten():
    mapper = ClockMapper(ClockConfig(max_buckets=30))
    turn_ns = FOREIGN_START_NS + 1000 * S
    for second in range(1000):
        foreign_ns = FOREIGN_START_NS + second * S
        mapper.add_pair(foreign_ns, local_of(foreign_ns, 50.0))
    for second in range(31):
        foreign_ns = turn_ns + second * S
        mapper.add_pair(foreign_ns, local_of(turn_ns, 50.0) + round(second * S * (1 - 20e-6)))
    assert mapper.report().drift_ppm == pytest.approx(-20.0, abs=0.01)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="bucket_s"):
        ClockConfig(bucket_s=0)
    with pytest.raises(ConfigError, match="drift_after_s"):
        ClockConfig(bucket_s=1, max_buckets=10, drift_after_s=20)
