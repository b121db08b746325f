import time

import numpy as np
import pytest

from tracevlm_ros.ingest.live_clock import StreamClock, wall_clock

MS = 1_000_000


def test_stamps_keep_the_spacing_of_the_stream_whatever_the_network_does():
    rng = np.random.default_rng(0)
    clock = StreamClock()
    pts = [index * 33 * MS for index in range(300)]
    delays = rng.exponential(20 * MS, 300).astype(int) + 5 * MS
    delays[3] = 5 * MS
    stamps = [clock.stamp_ns(p, 1_000 * MS + p + int(d)) for p, d in zip(pts, delays, strict=True)]
    steps = np.diff(stamps[4:])
    assert set(steps.tolist()) == {33 * MS}
    assert stamps[4] == 1_000 * MS + pts[4] + 5 * MS


def test_stamps_never_go_back_nor_lie_after_the_arrival():
    rng = np.random.default_rng(1)
    clock = StreamClock()
    arrivals = np.cumsum(rng.exponential(33 * MS, 500).astype(int))
    stamps = [clock.stamp_ns(index * 33 * MS, int(at)) for index, at in enumerate(arrivals)]
    assert np.diff(stamps).min() >= 0
    assert all(stamp <= at for stamp, at in zip(stamps, arrivals, strict=True))


def test_drift_between_the_clocks_is_followed():
    clock = StreamClock()
    errors = []
    for index in range(2000):
        pts = index * 33 * MS
        arrival = pts + pts // 5000
        errors.append(abs(clock.stamp_ns(pts, arrival) - arrival))
    assert max(errors) < 3 * MS


@pytest.mark.parametrize("jump_ms", [-5000, 60_000])
def test_a_jump_of_the_stream_starts_afresh(jump_ms):
    clock = StreamClock()
    clock.stamp_ns(0, 100 * MS)
    clock.stamp_ns(33 * MS, 133 * MS)
    assert clock.stamp_ns(jump_ms * MS, 170 * MS) == 170 * MS


def test_a_frame_without_pts_is_stamped_at_arrival():
    assert StreamClock().stamp_ns(None, 77) == 77


def test_the_wall_clock_is_that_of_the_system_and_never_steps_back():
    clock = wall_clock()
    readings = [clock() for _ in range(100)]
    assert readings == sorted(readings)
    assert abs(readings[-1] - time.time_ns()) < 1_000 * MS
