import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.attention.streams import (
    PX_PER_DEG,
    START_NS,
    blink,
    closed,
    grown,
    look,
    ms,
    opened,
    run,
    stroke,
)
from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.events import TraceClosed, TraceGrown, TraceOpened
from tracevlm_ros.core.attention.segmenter import TraceSegmenter
from tracevlm_ros.core.attention.view import known_focal
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import GazeSample, PenState


def fresh(**settings_of: object) -> tuple[TraceSegmenter, Drops]:
    drops = Drops()
    return TraceSegmenter(TraceConfig(**settings_of), drops), drops  # type: ignore[arg-type]


RATES = [30.0, 60.0, 120.0, 200.0, 240.0]


@pytest.mark.parametrize("rate_hz", RATES)
def test_looking_at_two_places_gives_two_traces_with_exact_onsets(rate_hz):
    segmenter, _ = fresh()
    events = (
        run(segmenter, look(15, 15, 0, 500, rate_hz), look(45, 30, 500, 1000, rate_hz))
        + segmenter.finish()
    )
    first, second = opened(events)
    assert (first.trace_id, second.trace_id) == (1, 2)
    tolerance_ms = max(20.0, 1000 / rate_hz)
    assert ms(first.stamp_ns) == pytest.approx(0, abs=tolerance_ms)
    assert ms(second.stamp_ns) == pytest.approx(500, abs=tolerance_ms)
    assert [event.reason for event in closed(events)] == ["shift", "end"]


@pytest.mark.parametrize("rate_hz", RATES)
def test_events_of_a_trace_are_opened_then_grown_then_closed_and_stamps_rise(rate_hz):
    segmenter, _ = fresh()
    events = run(
        segmenter,
        look(15, 15, 0, 400, rate_hz),
        look(40, 30, 430, 800, rate_hz),
        blink(800, 1600, rate_hz),
        look(15, 15, 1600, 2000, rate_hz),
    )
    events += segmenter.finish()
    assert_well_formed(events)
    assert len(opened(events)) == 3


def assert_well_formed(events):
    open_id = None
    last_id = last_ns = 0
    for event in events:
        if isinstance(event, TraceOpened):
            assert open_id is None
            assert event.trace_id == last_id + 1
            open_id = last_id = event.trace_id
            onset_ns = event.stamp_ns
            segment = -1
        elif isinstance(event, TraceGrown):
            assert event.trace_id == open_id
            assert event.sample.stamp_ns > last_ns
            assert event.segment in (segment, segment + 1)
            assert 0.2 <= event.weight <= 1.0
            if segment < 0:
                assert event.sample.stamp_ns == onset_ns
                assert not event.pen_up
            segment, last_ns = event.segment, event.sample.stamp_ns
        else:
            assert isinstance(event, TraceClosed)
            assert event.trace_id == open_id
            assert event.stamp_ns == last_ns
            open_id = None
    assert open_id is None


def test_a_fixation_is_told_late_but_loses_no_sample():
    segmenter, _ = fresh(min_fixation_ms=60)
    samples = look(20, 20, 0, 300)
    events = [(sample.stamp_ns, event) for sample in samples for event in segmenter.push(sample)]
    told_ns, first = events[0]
    assert isinstance(first, TraceOpened)
    assert 60 <= ms(told_ns) - ms(first.stamp_ns) <= 100
    assert [event.sample for _, event in events[1:]] == samples


def test_samples_of_a_saccade_belong_to_no_trace_and_are_counted():
    segmenter, drops = fresh()
    way = [
        GazeSample(START_NS + round((500 + i * 25 / 3) * 1e6), x * PX_PER_DEG, 15 * PX_PER_DEG)
        for i, x in enumerate((18, 24, 31, 37))
    ]
    events = run(segmenter, look(15, 15, 0, 500), way, look(40, 15, 534, 1000))
    told = {event.sample.stamp_ns for event in grown(events)}
    assert told.isdisjoint(sample.stamp_ns for sample in way)
    assert drops["gaze_between_fixations"] == 4


def test_fixations_on_one_place_form_one_trace_of_several_segments():
    segmenter, _ = fresh()
    events = run(segmenter, look(20, 20, 0, 300), look(22.5, 20, 300, 600), look(21, 22, 600, 900))
    assert len(opened(events)) == 1
    assert {event.segment for event in grown(events)} == {0, 1, 2}
    assert not any(event.pen_up for event in grown(events))


def test_a_chain_of_small_steps_does_not_wander_over_the_image_as_one_trace():
    segmenter, _ = fresh()
    steps = [look(5 + 3 * i, 20, 300 * i, 300 * (i + 1)) for i in range(16)]
    assert len(opened(run(segmenter, *steps))) > 1


def test_a_blink_is_bridged_and_marked_as_pen_up():
    segmenter, drops = fresh()
    events = run(segmenter, look(20, 20, 0, 400), blink(400, 600), look(20, 20, 600, 1000))
    assert len(opened(events)) == 1
    lifted = [event for event in grown(events) if event.pen_up]
    assert [round(ms(event.sample.stamp_ns)) for event in lifted] == [600]
    assert lifted[0].segment == 1
    assert drops["gaze_lost"] == len(blink(400, 600))


def test_a_single_lost_sample_does_not_split_a_fixation():
    segmenter, _ = fresh()
    samples = look(20, 20, 0, 400)
    samples[20] = samples[20]._replace(x_px=math.nan, confidence=0.0)
    events = run(segmenter, samples)
    assert {event.segment for event in grown(events)} == {0}
    assert not any(event.pen_up for event in grown(events))


def test_long_loss_closes_the_trace_at_its_last_sample():
    segmenter, _ = fresh(max_lost_ms=500)
    events = run(segmenter, look(20, 20, 0, 400), blink(400, 1400))
    (end,) = closed(events)
    assert end.reason == "lost"
    assert end.stamp_ns == grown(events)[-1].sample.stamp_ns


def test_time_alone_closes_a_trace_whose_source_fell_silent():
    segmenter, _ = fresh(max_lost_ms=500)
    run(segmenter, look(20, 20, 0, 400))
    assert segmenter.advance(START_NS + 600_000_000) == []
    (end,) = closed(segmenter.advance(START_NS + 1_200_000_000))
    assert end.reason == "lost"


def test_low_confidence_and_gaze_far_outside_are_lost_and_counted():
    segmenter, drops = fresh(min_confidence=0.5)
    doubtful = [sample._replace(confidence=0.4) for sample in look(20, 20, 0, 200)]
    unknown = [sample._replace(confidence=math.nan) for sample in look(20, 20, 200, 300)]
    outside = look(80, 20, 300, 500)
    assert run(segmenter, doubtful, unknown, outside) == []
    assert drops["gaze_lost"] == len(doubtful) + len(unknown)
    assert drops["gaze_outside"] == len(outside)


def test_stamps_that_do_not_rise_are_dropped_and_counted():
    segmenter, drops = fresh()
    segmenter.push(GazeSample(10, 5, 5))
    assert segmenter.push(GazeSample(10, 5, 5)) == []
    assert segmenter.push(GazeSample(9, 5, 5)) == []
    assert segmenter.push(GazeSample(-9, 5, 5)) == []
    assert drops == {"gaze_disorder": 2, "gaze_stamp_invalid": 1}


def test_after_a_reset_older_stamps_are_taken_and_ids_go_on():
    segmenter, drops = fresh()
    run(segmenter, look(20, 20, 1000, 1400))
    assert [event.reason for event in closed(segmenter.reset())] == ["end"]
    events = run(segmenter, look(20, 20, 0, 400))
    assert [event.trace_id for event in opened(events)] == [2]
    assert drops["gaze_disorder"] == 0


def test_a_trace_that_lasts_too_long_is_closed_and_goes_on_as_another():
    segmenter, _ = fresh(max_trace_s=1.0)
    events = run(segmenter, look(20, 20, 0, 2500)) + segmenter.finish()
    assert [event.reason for event in closed(events)] == ["duration", "duration", "end"]
    assert len(grown(events)) == len(look(20, 20, 0, 2500))
    assert_well_formed(events)


def test_weight_rises_with_dwell():
    segmenter, _ = fresh()
    weights = [event.weight for event in grown(run(segmenter, look(20, 20, 0, 1000)))]
    assert weights[-1] > 0.9
    assert weights[0] < weights[len(weights) // 2] < weights[-1]


def test_thresholds_are_degrees_once_the_focal_length_is_known():
    # 3 degrees apart for this focal length, but 9 degrees if the image were taken to span 60.
    wide_px = 100.0
    focal_px = wide_px / math.radians(3.0)
    places = [(100.0, 100.0), (100.0 + wide_px, 100.0)]
    near = [
        sample._replace(x_px=x, y_px=y)
        for (x, y), samples in zip(places, (look(0, 0, 0, 400), look(0, 0, 400, 800)), strict=True)
        for sample in samples
    ]
    known, _ = fresh(focal_px=focal_px)
    assumed, _ = fresh()
    assert len(opened(run(known, near))) == 1
    assert len(opened(run(assumed, near))) == 2


def test_another_image_size_closes_the_trace():
    segmenter, _ = fresh()
    run(segmenter, look(20, 20, 0, 400))
    assert segmenter.set_view((480, 640), None) == []
    assert [event.reason for event in closed(segmenter.set_view((720, 1280), None))] == ["end"]


@pytest.mark.parametrize("rate_hz", [60.0, 120.0, 240.0])
def test_a_focal_length_that_comes_during_a_trace_counts_as_if_known_from_its_start(rate_hz):
    focal_px = 1200.0
    moving = [
        sample._replace(x_px=sample.x_px + 0.05 * i)
        for i, sample in enumerate(look(20, 20, 0, 600, rate_hz))
    ]
    again = look(22, 21, 600, 900, rate_hz)
    known, known_drops = fresh(focal_px=focal_px)
    learnt, drops = fresh()
    half = len(moving) // 2
    first = run(learnt, moving[:half])
    assert learnt.set_view((480, 640), focal_px) == []
    events = [*first, *run(learnt, moving[half:], again), *learnt.finish()]
    expected = [*run(known, moving, again), *known.finish()]
    assert len(opened(events)) == len(opened(expected)) == 1
    assert [e.sample for e in grown(events)] == [e.sample for e in grown(expected)]
    assert [e.segment for e in grown(events)] == [e.segment for e in grown(expected)]
    weights = [event.weight for event in grown(expected)]
    assert [event.weight for event in grown(events)] == pytest.approx(weights)
    assert learnt._noise.sigma == pytest.approx(known._noise.sigma)
    assert drops == known_drops


def test_a_pointer_stroke_goes_on_when_the_focal_length_becomes_known():
    segmenter, _ = fresh()
    line = [(10 + 0.2 * i, 10) for i in range(20)]
    events = run(segmenter, stroke(line[:10], 0))
    events += segmenter.set_view((480, 640), 300.0)
    events += run(segmenter, stroke(line[10:], 100)) + segmenter.finish()
    assert len(opened(events)) == 1
    assert {event.segment for event in grown(events)} == {0}


@pytest.mark.parametrize(
    ("told", "taken"),
    [(500.0, 500.0), (0.0, None), (-3.0, None), (math.nan, None), (math.inf, None), (0.5, None)],
)
def test_a_focal_length_that_no_camera_has_is_none(told, taken):
    assert known_focal(told) == taken


def shake(angle_deg: float) -> np.ndarray:
    return np.array([[1, 0, angle_deg * PX_PER_DEG], [0, 1, 0], [0, 0, 1]], np.float64)


@pytest.mark.parametrize("rate_hz", [120.0, 240.0])
def test_a_turning_camera_does_not_end_a_fixation_when_its_motion_is_known(rate_hz):
    deg_per_frame = 3.0  # 90 degrees per second at 30 frames per second
    still = look(10, 20, 0, 600, rate_hz)

    def pushed(compensate: bool) -> list[object]:
        segmenter, _ = fresh()
        events = []
        frame_at_ms = 1000 / 30
        for sample in still:
            if ms(sample.stamp_ns) > frame_at_ms:
                frame_at_ms += 1000 / 30
                if compensate:
                    segmenter.move(shake(deg_per_frame))
            # Where the scene is when the sample is taken, and when the newest frame was.
            turned = deg_per_frame * ms(sample.stamp_ns) * 30 / 1000
            in_frame = deg_per_frame * round(frame_at_ms * 30 / 1000)
            moved = sample._replace(x_px=sample.x_px + turned * PX_PER_DEG)
            seen_px = (sample.x_px + in_frame * PX_PER_DEG, sample.y_px)
            events += segmenter.push(moved, seen_px if compensate else None)
        return events + segmenter.finish()

    compensated = grown(pushed(compensate=True))
    assert [event.sample.stamp_ns for event in compensated] == [s.stamp_ns for s in still]
    assert {(event.trace_id, event.segment) for event in compensated} == {(1, 0)}
    plain = grown(pushed(compensate=False))  # the turning has to be learnt from the gaze first
    assert plain[0].sample.stamp_ns > still[0].stamp_ns + 60_000_000


def test_a_homography_that_is_none_is_ignored_and_counted():
    segmenter, drops = fresh()
    segmenter.move(np.full((3, 3), np.nan))
    segmenter.move(np.eye(2))
    assert drops == {"segmenter_move_invalid": 2}


def test_pen_strokes_soon_after_one_another_form_one_trace_with_a_pen_up():
    segmenter, drops = fresh()
    line = [(10 + 0.2 * i, 10) for i in range(20)]
    lifted = stroke([(14, 10.5)], 200, pen=PenState.UP)
    events = run(segmenter, stroke(line, 0), lifted, stroke(line, 400))
    assert len(opened(events)) == 1
    assert [ms(event.sample.stamp_ns) for event in grown(events) if event.pen_up] == [400]
    assert {event.segment for event in grown(events)} == {0, 1}
    assert drops == {"pointer_pen_up": 1}


def test_a_pen_stroke_elsewhere_or_much_later_is_another_trace():
    line = [(10 + 0.2 * i, 10) for i in range(20)]
    far = [(40 + 0.2 * i, 35) for i in range(20)]
    for second, start_ms in ((far, 400), (line, 1500)):
        segmenter, _ = fresh(stroke_gap_ms=600)
        lifted = stroke([(14, 10)], 200, pen=PenState.UP)
        events = run(segmenter, stroke(line, 0), lifted, stroke(second, start_ms))
        assert len(opened(events)) == 2


def test_a_pen_held_still_without_messages_stays_down_until_the_hold_limit():
    segmenter, _ = fresh(max_hold_ms=3000)
    run(segmenter, stroke([(10, 10), (11, 10), (12, 10)], 0))
    assert segmenter.advance(START_NS + 2_000_000_000) == []
    (end,) = closed(segmenter.advance(START_NS + 4_000_000_000))
    assert end.reason == "pause"


def test_the_first_sample_of_a_pen_stroke_is_told_at_once():
    segmenter, _ = fresh()
    events = run(segmenter, stroke([(10, 10)], 0))
    assert len(opened(events)) == 1
    assert len(grown(events)) == 1


def test_a_pointer_without_pen_state_is_split_by_its_pauses():
    segmenter, _ = fresh(source="pointer", pause_ms=300, stroke_gap_ms=400)
    out = [(10 + i, 10) for i in range(10)]
    rest = [(19, 10)] * 120
    far = [(19 + i, 10 + i) for i in range(1, 10)]
    unknown = PenState.UNKNOWN
    events = run(
        segmenter,
        stroke(out, 0, pen=unknown),
        stroke(rest, 100, pen=unknown),
        stroke(far, 1300, pen=unknown),
    )
    assert len(opened(events)) == 2
    assert ms(opened(events)[1].stamp_ns) == 1290  # the rest from which the movement starts


def test_gaze_after_a_pointer_opens_another_trace():
    segmenter, _ = fresh()
    events = run(segmenter, stroke([(10, 10)] * 5, 0), look(10, 10, 50, 400))
    assert [event.trace_id for event in opened(events)] == [1, 2]
    assert closed(events)[0].reason == "end"


def test_held_samples_go_along_when_the_measured_rate_changes_the_detector():
    segmenter, drops = fresh()
    samples = look(20, 20, 0, 300, rate_hz=500)
    events = run(segmenter, samples) + segmenter.finish()
    assert grown(events)[0].sample == samples[0]
    assert len(grown(events)) == len(samples)
    assert drops["gaze_between_fixations"] == 0


@pytest.mark.parametrize("detector", ["dispersion", "velocity"])
def test_either_detector_can_be_asked_for(detector):
    segmenter, _ = fresh(detector=detector)
    events = run(segmenter, look(15, 15, 0, 500), look(45, 30, 500, 1000))
    assert len(opened(events)) == 2


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="source"):
        TraceConfig(source="mouse")
    with pytest.raises(ConfigError, match="min_fixation_ms"):
        TraceConfig(min_fixation_ms=0)
    with pytest.raises(ConfigError, match="saccade_end_deg_s"):
        TraceConfig(saccade_start_deg_s=30, saccade_end_deg_s=35)
    with pytest.raises(ConfigError, match="image_size_hw"):
        TraceConfig(image_size_hw=(0, 640))


samples_of_any_kind = st.tuples(
    st.integers(-3, 400),
    st.floats(-50, 700) | st.just(math.nan) | st.just(math.inf),
    st.floats(-50, 700),
    st.floats(0, 1),
    st.sampled_from(list(PenState)),
)


@settings(max_examples=150, deadline=None)
@given(
    source=st.sampled_from(["auto", "gaze", "pointer"]),
    detector=st.sampled_from(["auto", "dispersion", "velocity"]),
    steps=st.lists(samples_of_any_kind, max_size=80),
)
def test_any_stream_gives_well_formed_events_and_loses_no_sample_uncounted(source, detector, steps):
    segmenter, drops = fresh(source=source, detector=detector)
    events = []
    stamp_ns = START_NS
    for step_ms, x, y, confidence, pen in steps:
        stamp_ns += step_ms * 1_000_000
        events += segmenter.push(GazeSample(stamp_ns, x, y, confidence, pen))
    events += segmenter.finish()
    assert_well_formed(events)
    assert len(grown(events)) + sum(drops.values()) == len(steps)
