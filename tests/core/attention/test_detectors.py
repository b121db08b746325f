import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.segmentation import BAR, measure
from tests.core.attention.streams import look
from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Detector, Point
from tracevlm_ros.core.attention.dispersion import DispersionDetector
from tracevlm_ros.core.attention.noise import NoiseEstimate
from tracevlm_ros.core.attention.rate import RateEstimate
from tracevlm_ros.core.attention.strokes import StrokeDetector
from tracevlm_ros.core.attention.velocity import VelocityDetector
from tracevlm_ros.core.attention.view import View
from tracevlm_ros.core.types import GazeSample, PenState

VIEW = View.of((480, 640), None, 60.0)
KINDS = ["dispersion", "velocity", "strokes"]


def detector_of(kind: str, noise: NoiseEstimate | None = None) -> Detector:
    config = TraceConfig()
    if kind == "strokes":
        return StrokeDetector(config)
    detector = DispersionDetector if kind == "dispersion" else VelocityDetector
    return detector(config, noise or NoiseEstimate(0.1))


def labels(detector: Detector, samples: list[GazeSample]) -> list[int]:
    decided = [
        one for sample in samples for one in detector.push(VIEW.point(sample, None))
    ] + detector.interrupt()
    return [one.label for one in decided]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    places=st.lists(
        st.tuples(
            st.integers(1, 40), st.floats(0, 60), st.floats(0, 45), st.sampled_from(list(PenState))
        ),
        max_size=60,
    ),
    cuts=st.sets(st.integers(0, 60), max_size=3),
)
def test_every_sample_comes_back_exactly_once_and_in_order(kind, places, cuts):
    detector = detector_of(kind)
    stamp_ns = 1
    pushed, decided = [], []
    for index, (step_ms, x, y, pen) in enumerate(places):
        stamp_ns += step_ms * 1_000_000
        point = Point(GazeSample(stamp_ns, 0, 0, 1.0, pen), x, y)
        pushed.append(point.sample)
        decided += detector.push(point)
        if index in cuts:
            decided += detector.interrupt()
            assert len(decided) == len(pushed)
    decided += detector.interrupt()
    assert [one.point.sample for one in decided] == pushed
    found = [one.label for one in decided if one.label]
    assert found == sorted(found)


@pytest.mark.parametrize("kind", ["dispersion", "velocity"])
def test_places_that_jump_about_are_no_fixation(kind):
    rng = np.random.default_rng(0)
    samples = [
        GazeSample(1 + i * 5_000_000, *rng.uniform((0, 0), (640, 480)).tolist()) for i in range(200)
    ]
    assert set(labels(detector_of(kind), samples)) == {0}


def test_a_sample_that_strays_alone_does_not_end_a_fixation():
    samples = look(20, 20, 0, 400)
    samples[30] = samples[30]._replace(x_px=600.0)
    found = labels(detector_of("dispersion"), samples)
    assert found == [1] * 30 + [0] + [1] * (len(samples) - 31)


def test_the_dispersion_limit_follows_the_noise():
    noise = NoiseEstimate(0.1)
    noisy = look(20, 20, 0, 1000, noise_deg=0.5)
    assert max(labels(detector_of("dispersion", noise), noisy)) == 0
    for sample in noisy:
        noise.add(sample.stamp_ns, *VIEW.point(sample, None)[1:])
    found = labels(detector_of("dispersion", noise), noisy)
    assert found.count(1) > 0.95 * len(noisy)


def test_noise_finds_the_deviation_of_fixations_between_saccades():
    noise = NoiseEstimate(1.0)
    for index in range(8):
        place = (10 + 30 * (index % 2), 20)
        for sample in look(*place, 300 * index, 300 * (index + 1), noise_deg=0.3):
            noise.add(sample.stamp_ns, *VIEW.point(sample, None)[1:])
    assert noise.sigma == pytest.approx(0.3, rel=0.2)


def turning(samples: list[GazeSample], deg_per_s: float) -> list[GazeSample]:
    """The same gaze from a head that turns."""
    start_ns = samples[0].stamp_ns
    return [
        sample._replace(
            x_px=sample.x_px + deg_per_s * (sample.stamp_ns - start_ns) / 1e9 * VIEW.px_per_deg
        )
        for sample in samples
    ]


@pytest.mark.parametrize("noise_deg", [0.05, 0.46])
def test_the_speed_of_the_head_is_told_from_noise_and_saccades(noise_deg):
    samples = [
        sample
        for index in range(8)
        for sample in look(10 + 5 * (index % 2), 20, 300 * index, 300 * (index + 1), 240, noise_deg)
    ]
    for deg_per_s, tolerance in ((0.0, 4.0), (25.0, 6.0)):
        noise = NoiseEstimate(0.1)
        for sample in turning(samples, deg_per_s):
            noise.add(sample.stamp_ns, *VIEW.point(sample, None)[1:])
        assert noise.speed == pytest.approx(deg_per_s, abs=tolerance)


@pytest.mark.parametrize(("kind", "rate_hz"), [("dispersion", 120), ("velocity", 240)])
def test_a_fixation_of_a_turning_head_is_found_once_the_turning_is_known(kind, rate_hz):
    samples = turning(look(5, 20, 0, 1200, rate_hz), 35.0)
    noise = NoiseEstimate(0.1)
    detector = detector_of(kind, noise)
    decided = []
    for sample in samples:
        point = VIEW.point(sample, None)
        noise.add(sample.stamp_ns, point.x_deg, point.y_deg)
        decided += detector.push(point)
    late = [one.label for one in decided[len(samples) // 3 :]]
    assert len(set(late)) == 1
    assert late[0] != 0


def test_noise_keeps_its_start_until_it_knows_enough():
    noise = NoiseEstimate(0.7)
    for _ in range(10):
        noise.add(1, 0.0, 0.0)
    assert noise.sigma == 0.7


def test_rate_is_the_median_interval_whatever_a_few_gaps_say():
    rate = RateEstimate()
    stamp_ns = previous_ns = 0
    for index in range(40):
        stamp_ns += 60_000_000 if index % 10 == 5 else 5_000_000
        rate.add(stamp_ns, previous_ns)
        previous_ns = stamp_ns
    assert rate.rate_hz == pytest.approx(200.0)


@pytest.mark.parametrize("seed", range(6))
def test_a_small_saccade_in_strong_noise_ends_a_fixation_by_its_place(seed):
    rng = np.random.default_rng(seed)
    before = look(20, 20, 0, 400, rate_hz=240, noise_deg=0.0)
    after = look(21.6, 20, 400, 800, rate_hz=240, noise_deg=0.0)
    samples = []
    for sample in (*before, *after):
        off_x, off_y = rng.normal(0, 0.46 * VIEW.px_per_deg, 2)
        samples.append(sample._replace(x_px=sample.x_px + off_x, y_px=sample.y_px + off_y))
    found = labels(detector_of("velocity", NoiseEstimate(0.46)), samples)
    assert (found[90], found[-6]) == (1, 2)


def test_samples_on_their_way_to_a_fixation_are_not_its_onset():
    samples = look(20, 20, 0, 300)
    landing = samples[0]._replace(x_px=samples[0].x_px + 0.45 * VIEW.px_per_deg)
    found = labels(detector_of("dispersion"), [landing, *samples[1:]])
    assert found == [0] + [1] * (len(samples) - 1)


@pytest.mark.parametrize("noise_deg", list(BAR))
@pytest.mark.parametrize("rate_hz", [120, 240])
def test_simulated_gaze_is_segmented_as_well_as_the_bar_and_with_onsets_within_20_ms(
    rate_hz, noise_deg
):
    row = measure(rate_hz, noise_deg, seconds=25.0, seed=3)
    assert row.f1 >= BAR[noise_deg][rate_hz > 120]
    assert abs(row.onset_median_ms) <= 20.0
    assert row.onset_p95_abs_ms <= 20.0
    assert row.news_p95_ms <= 110.0


def test_a_view_without_focal_length_takes_the_long_side_to_span_the_assumed_angle():
    assert View.of((480, 640), None, 60.0).long_side_deg == 60.0
    assert View.of((640, 480), None, 60.0).long_side_deg == 60.0
    assert View.of((480, 640), 640.0, 60.0).px_per_deg == pytest.approx(11.17, abs=0.01)


def test_carrying_degrees_is_carrying_pixels():
    homography = np.array([[1.1, 0.02, 5.0], [-0.03, 0.95, -7.0], [1e-4, 2e-4, 1.0]])
    x_px, y_px = 300.0, 200.0
    expected = homography @ (x_px, y_px, 1.0)
    carry = VIEW.carry(homography)
    got = carry(x_px / VIEW.px_per_deg, y_px / VIEW.px_per_deg)
    assert np.multiply(got, VIEW.px_per_deg) == pytest.approx(expected[:2] / expected[2])


def test_a_point_carried_behind_the_camera_stays():
    behind = np.array([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0.5]])
    assert VIEW.carry(behind)(30.0, 20.0) == (30.0, 20.0)
