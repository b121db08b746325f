import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.sync import FrameBundle, SyncConfig, Synchronizer
from tracevlm_ros.core.types import Frame, GazeSample

MS = 1_000_000
IMAGE = np.zeros((2, 2, 3), np.uint8)
EPOCH_NS = 1_700_000_000_000_000_000


def gaze(ms: float, x: float = 1.0, y: float = 2.0, confidence: float = 1.0) -> GazeSample:
    return GazeSample(EPOCH_NS + round(ms * MS), x, y, confidence)


def frame(ms: float) -> Frame:
    return Frame(EPOCH_NS + round(ms * MS), IMAGE)


def feed(sync: Synchronizer, items: list[GazeSample | Frame]) -> list[FrameBundle]:
    bundles = []
    for item in items:
        if isinstance(item, Frame):
            sync.push_frame(item)
        else:
            sync.push_gaze(item)
        bundles += sync.pop_ready()
    return bundles


def fresh(**settings_of: float) -> tuple[Synchronizer, Drops]:
    drops = Drops()
    return Synchronizer(SyncConfig(**settings_of), drops), drops  # type: ignore[arg-type]


def ms_of(bundle: FrameBundle) -> list[float]:
    return [(sample.stamp_ns - EPOCH_NS) / MS for sample in bundle.gaze]


def test_a_frame_waits_until_the_gaze_is_past_it_by_the_reorder_window():
    sync, _ = fresh(reorder_window_ms=5)
    assert feed(sync, [gaze(0), frame(10), gaze(10), gaze(14.9)]) == []
    (bundle,) = feed(sync, [gaze(15)])
    assert bundle.frame.stamp_ns == frame(10).stamp_ns
    assert ms_of(bundle) == [0, 10]


def test_a_frame_waits_for_the_last_sample_that_may_still_come_between_it_and_the_next():
    sync, _ = fresh(reorder_window_ms=5)
    assert feed(sync, [gaze(60, 0, 0), frame(61), gaze(66, 60, 0), gaze(62, 2, 0)]) == []
    (bundle,) = feed(sync, [gaze(70)])
    assert bundle.gaze_at_frame == gaze(61, 1, 0)


def test_a_frame_does_not_wait_for_a_sample_too_far_away_to_interpolate_with():
    sync, _ = fresh(reorder_window_ms=5, max_gaze_gap_ms=20)
    assert feed(sync, [gaze(0), frame(10), gaze(24)]) == []
    (bundle,) = feed(sync, [gaze(25)])
    assert bundle.gaze_at_frame is None


def test_gaze_is_interpolated_at_the_stamp_of_the_frame():
    sync, _ = fresh()
    (bundle,) = feed(sync, [gaze(0, 0, 100), frame(2), gaze(8, 80, 20), gaze(16)])
    assert bundle.gaze_at_frame == gaze(2, 20, 80)


def test_gaze_at_the_very_stamp_of_the_frame_is_taken_as_it_is():
    sync, _ = fresh()
    (bundle,) = feed(sync, [gaze(0, 5, 5), gaze(4, 7, 9), frame(4), gaze(12, 50, 50)])
    assert bundle.gaze_at_frame == gaze(4, 7, 9)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_lost_gaze_is_kept_as_nan_and_never_interpolated(lost):
    sync, drops = fresh()
    (bundle,) = feed(sync, [gaze(0), gaze(8, lost, 3), frame(10), gaze(16)])
    assert math.isnan(bundle.gaze[1].x_px)
    assert math.isnan(bundle.gaze[1].y_px)
    assert bundle.gaze[1].confidence == 0
    assert bundle.gaze_at_frame is None
    assert drops == {}


def test_a_confidence_that_is_no_number_counts_as_none():
    sync, _ = fresh()
    (bundle,) = feed(sync, [gaze(0, confidence=math.nan), frame(1), gaze(8)])
    assert bundle.gaze[0].confidence == 0
    assert bundle.gaze_at_frame is None


def test_samples_too_far_apart_are_not_interpolated():
    sync, _ = fresh(max_gaze_gap_ms=20)
    (bundle,) = feed(sync, [gaze(0), frame(10), gaze(21), gaze(26)])
    assert bundle.gaze_at_frame is None


def test_stamps_of_zero_or_less_are_dropped_and_counted():
    sync, drops = fresh()
    feed(sync, [GazeSample(0, 1, 1), GazeSample(-5, 1, 1), Frame(0, IMAGE), Frame(-1, IMAGE)])
    assert drops == {"gaze_stamp_invalid": 2, "frame_stamp_invalid": 2}
    assert sync.flush() == []


def test_doubled_samples_and_frames_are_dropped_and_counted():
    sync, drops = fresh()
    bundles = feed(sync, [gaze(0), gaze(0), frame(1), frame(1), gaze(8), gaze(8), gaze(16)])
    assert [ms_of(bundle) for bundle in bundles] == [[0]]
    assert drops == {"gaze_duplicate": 2, "frame_duplicate": 1}


def test_of_two_samples_with_one_stamp_the_surer_stays_whichever_came_first():
    sure, unsure = gaze(0, 1, 1, confidence=0.9), gaze(0, 2, 2, confidence=0.4)
    for pair in ([sure, unsure], [unsure, sure]):
        sync, _ = fresh()
        (bundle,) = feed(sync, [*pair, frame(1), gaze(8), gaze(16)])
        assert bundle.gaze == (sure,)


def test_gaze_within_the_window_is_sorted_and_later_gaze_is_dropped_and_counted():
    sync, drops = fresh(reorder_window_ms=5)
    bundles = feed(sync, [gaze(10), gaze(6), gaze(5), frame(12), gaze(18), gaze(26)])
    assert [ms_of(bundle) for bundle in bundles] == [[6, 10]]
    assert drops == {"gaze_late": 1}


def test_a_frame_behind_a_newer_one_is_dropped_and_counted():
    sync, drops = fresh()
    bundles = feed(sync, [frame(20), frame(10), gaze(25)])
    assert len(bundles) == 1
    assert drops == {"frame_late": 1}


def test_flushed_frames_come_without_waiting_and_are_counted():
    sync, drops = fresh()
    assert feed(sync, [gaze(0), frame(10), frame(40)]) == []
    bundles = sync.flush()
    assert [ms_of(bundle) for bundle in bundles] == [[0], []]
    assert drops == {"frame_without_gaze": 2}


def test_gaze_that_comes_after_its_frame_was_flushed_goes_with_the_next_frame():
    sync, drops = fresh(reorder_window_ms=5)
    feed(sync, [gaze(0), frame(10)])
    sync.flush()
    bundles = feed(sync, [gaze(8), gaze(16), frame(20), gaze(24), gaze(32)])
    assert [ms_of(bundle) for bundle in bundles] == [[8, 16]]
    assert drops == {"frame_without_gaze": 1}


def test_too_many_waiting_frames_go_without_gaze_and_are_counted():
    sync, drops = fresh(max_waiting_frames=3)
    bundles = feed(sync, [frame(33 * i) for i in range(1, 11)])
    assert len(bundles) == 7
    assert sync.waiting_frames == 3
    assert drops == {"frame_without_gaze": 7}


def test_gaze_without_frames_is_bounded_and_the_oldest_is_counted():
    sync, drops = fresh(max_gaze_samples=16)
    feed(sync, [gaze(8 * i) for i in range(100)])
    assert drops == {"gaze_overflow": 84}
    (bundle,) = feed(sync, [frame(8 * 98 - 5)])
    assert ms_of(bundle) == [8.0 * i for i in range(84, 98)]


def test_a_single_stamp_from_far_away_is_refused_and_counted():
    sync, drops = fresh()
    for stray_ms in (-1000, 1_000_000):
        feed(sync, [gaze(0), gaze(stray_ms), gaze(8)])
        sync.reset()
        drops.pop("gaze_reset")
        assert drops == {"gaze_stamp_jump": 1}
        drops.clear()


def test_a_single_frame_from_far_away_is_refused_and_does_not_reset():
    sync, drops = fresh()
    items = [frame(0), frame(-10_000), frame(33), gaze(60)]
    assert [bundle.was_reset for bundle in feed(sync, items)] == [False, False]
    assert drops == {"frame_stamp_jump": 1}


def looped(gaze_first: bool) -> list[GazeSample | Frame]:
    """Two seconds of a bag, twice; at the seam one of the streams jumps back first."""
    gaze_of_run = [gaze(8 * i, i) for i in range(250)]
    frames_of_run = [frame(40 * i + 1) for i in range(49)]
    run = sorted([*gaze_of_run, *frames_of_run], key=lambda item: item.stamp_ns)
    gaze_head = [item for item in run[:30] if isinstance(item, GazeSample)]
    frame_head = [item for item in run[:30] if isinstance(item, Frame)]
    head = [*gaze_head, *frame_head] if gaze_first else [*frame_head, *gaze_head]
    return [*run, *head, *run[30:]]


@pytest.mark.parametrize("gaze_first", [True, False])
def test_a_bag_loop_resets_once_and_gives_the_same_bundles_again(gaze_first):
    sync, drops = fresh()
    bundles = feed(sync, looped(gaze_first))
    assert len(bundles) == 98
    assert [index for index, bundle in enumerate(bundles) if bundle.was_reset] == [49]
    first, second = bundles[:49], bundles[49:]
    assert [b.gaze for b in first] == [b.gaze for b in second]
    assert [b.gaze_at_frame for b in first] == [b.gaze_at_frame for b in second]
    assert set(drops) <= {"gaze_reset"}


def test_frames_that_loop_alone_do_not_wait_for_gaze_for_ever():
    sync, drops = fresh(max_waiting_frames=4)
    feed(sync, [gaze(8 * i) for i in range(1000)])
    bundles = feed(sync, [frame(7000), frame(7040), *(frame(40 * i) for i in range(1, 20))])
    assert len(bundles) == 2 + 19
    assert drops["frame_without_gaze"] == 1


def test_gaze_that_comes_back_from_a_wrong_future_is_paired_again():
    sync, drops = fresh()
    wrong = [gaze(500_000 + 8 * i) for i in range(20)]
    right = [gaze(8 * i) for i in range(20)]
    bundles = feed(sync, [*wrong, *right, frame(100), frame(140)])
    assert ms_of(bundles[0]) == [8.0 * i for i in range(13)]
    assert ms_of(bundles[1]) == [104, 112, 120, 128, 136]
    assert drops == {"gaze_reset": 20}


def test_a_confirmed_jump_forward_of_the_frames_resets():
    sync, _ = fresh()
    items = [gaze(0), frame(1), gaze(8), *(gaze(60_000 + 8 * i) for i in range(12))]
    bundles = feed(sync, [*items, frame(60_010), frame(60_050)])
    assert [bundle.was_reset for bundle in bundles] == [False, True, False]


def test_reset_forgets_all_and_counts_what_was_held():
    sync, drops = fresh()
    feed(sync, [gaze(0), gaze(8), frame(9), gaze(-2000), frame(-2000)])
    sync.reset()
    assert drops == {"gaze_reset": 3, "frame_reset": 2}
    (bundle,) = feed(sync, [gaze(-5000), frame(-4999), gaze(-4990), gaze(-4980)])
    assert ms_of(bundle) == [-5000]
    assert not bundle.was_reset


def test_a_window_without_bounds_is_refused():
    with pytest.raises(ConfigError, match="reorder_window_ms"):
        SyncConfig(reorder_window_ms=-1)
    with pytest.raises(ConfigError, match="jump_back_ms"):
        SyncConfig(reorder_window_ms=100, jump_back_ms=50)


def arrival_order(
    items: list[GazeSample | Frame], delays_ms: list[float]
) -> list[GazeSample | Frame]:
    """Each item arrives its own delay after its stamp; frames keep their order."""
    arrivals = []
    latest_frame = 0
    for index, (item, delay) in enumerate(zip(items, delays_ms, strict=True)):
        arrival = item.stamp_ns + round(delay * MS)
        if isinstance(item, Frame):
            arrival = latest_frame = max(arrival, latest_frame)
        arrivals.append((arrival, index, item))
    return [item for _, _, item in sorted(arrivals, key=lambda entry: entry[:2])]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_arrival_within_the_window_gives_the_same_bundles(data):
    count = data.draw(st.integers(2, 40))
    steps = data.draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))
    stamps = np.cumsum(steps)
    lost = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    samples = [
        gaze(float(ms), math.nan if gone else float(ms) ** 2, float(ms))
        for ms, gone in zip(stamps, lost, strict=True)
    ]
    frame_ms = data.draw(st.lists(st.integers(1, int(stamps[-1])), unique=True, max_size=8))
    items = sorted([*samples, *map(frame, frame_ms)], key=lambda item: item.stamp_ns)
    # 4.9 ms of spread against a window of 5; frames may be delayed far longer.
    delays = [data.draw(st.floats(0, 80.0 if isinstance(item, Frame) else 4.9)) for item in items]
    expected_sync, expected_drops = fresh(max_waiting_frames=100)
    expected = feed(expected_sync, list(items)) + expected_sync.flush()
    sync, drops = fresh(max_waiting_frames=100)
    got = feed(sync, arrival_order(items, delays)) + sync.flush()
    assert repr(got) == repr(expected)  # repr, because NaN differs from itself
    assert drops == expected_drops
    assert all(isinstance(bundle, FrameBundle) for bundle in got)


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(
        st.tuples(
            st.booleans(), st.integers(-10, 10) | st.integers(-(10**13), 10**13), st.floats()
        ),
        max_size=60,
    )
)
def test_any_stream_whatever_stays_bounded_sorted_and_loses_no_frame_uncounted(items):
    sync, drops = fresh(max_waiting_frames=5, max_gaze_samples=16)
    bundles = []
    pushed = 0
    for is_frame, stamp_ns, x in items:
        if is_frame:
            pushed += 1
            sync.push_frame(Frame(stamp_ns, IMAGE))
        else:
            sync.push_gaze(GazeSample(stamp_ns, x, 0.0, x))
        bundles += sync.pop_ready()
        assert sync.waiting_frames <= 5
    bundles += sync.flush()
    sync.reset()
    lost_frames = sum(
        count
        for reason, count in drops.items()
        if reason.startswith("frame_") and reason != "frame_without_gaze"
    )
    assert len(bundles) + lost_frames == pushed
    for bundle in bundles:
        stamps = [sample.stamp_ns for sample in bundle.gaze]
        assert stamps == sorted(set(stamps))
        assert all(stamp <= bundle.frame.stamp_ns for stamp in stamps)
    for before, after in pairwise(bundles):
        assert after.was_reset or after.frame.stamp_ns > before.frame.stamp_ns
