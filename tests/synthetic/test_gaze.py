import itertools

import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.synthetic.clip import Clip, ClipConfig
from tracevlm_ros.synthetic.gaze import GazeConfig, look_at, saccade_s

CLIP = ClipConfig(seed=8, seconds=20.0, height=240, width=320, objects=9)
FAITHFUL = GazeConfig(
    jitter_px=0.0, drift_px=0.0, blinks_per_minute=0.0, late_share=0.0, doubled_share=0.0
)


@pytest.fixture(scope="module")
def clip():
    return Clip(CLIP)


@pytest.fixture(scope="module")
def looked(clip):
    return look_at(clip, GazeConfig(late_share=0.02, doubled_share=0.02, blinks_per_minute=30.0))


def test_the_eye_rests_on_the_object_that_the_truth_names(clip, looked):
    hits = []
    for index in range(0, CLIP.frame_count, 10):
        frame = clip.frame_at(index)
        at = int(np.searchsorted(looked.stamps_ns, frame.stamp_ns))
        for visit in looked.visits:
            if visit.start_ns <= frame.stamp_ns < visit.end_ns and not looked.is_saccade[at]:
                x, y = np.round(looked.true_px[at]).astype(int)
                hits.append(frame.labels[y, x] == visit.object_index + 1)
    assert len(hits) > 20
    assert np.mean(hits) > 0.95


def test_visits_follow_each_other_and_change_the_object(looked):
    assert len(looked.visits) > 6
    for one, two in zip(looked.visits[:-1], looked.visits[1:], strict=True):
        assert one.start_ns < one.end_ns <= two.start_ns
        assert one.object_index != two.object_index
    assert len({visit.object_index for visit in looked.visits}) >= 4


def test_readings_come_at_their_rate(looked):
    steps = np.diff(looked.stamps_ns)
    assert steps.min() > 0
    assert np.median(steps) == pytest.approx(1e9 / 120, rel=0.01)


def test_saccades_are_quick_and_bell_shaped(looked):
    speed = np.linalg.norm(np.diff(looked.true_px, axis=0), axis=1) * 120 / 11.0
    in_saccade = looked.is_saccade[1:] & looked.is_saccade[:-1]
    resting = ~looked.is_saccade[1:] & ~looked.is_saccade[:-1]
    assert np.median(speed[in_saccade]) > 30 * np.median(speed[resting])
    assert speed.max() < 900
    assert 0.02 < looked.is_saccade.mean() < 0.2
    assert saccade_s(110.0, 11.0) == pytest.approx(0.043)


def test_blinks_are_nan_with_no_confidence(looked):
    samples = [arrival.sample for arrival in looked.arrivals]
    blinks = [sample for sample in samples if sample.confidence == 0.0]
    assert 10 < len(blinks) < 0.2 * len(samples)
    assert all(np.isnan(sample.x_px) and np.isnan(sample.y_px) for sample in blinks)
    assert all(np.isfinite(s.x_px) for s in samples if s.confidence > 0.0)


def test_some_readings_are_doubled_and_some_come_late(looked):
    stamps = [arrival.sample.stamp_ns for arrival in looked.arrivals]
    arrivals = [arrival.arrival_ns for arrival in looked.arrivals]
    assert arrivals == sorted(arrivals)
    assert sorted(set(stamps)) == list(looked.stamps_ns)
    assert 0.005 < 1 - len(set(stamps)) / len(stamps) < 0.05
    backwards = sum(later < earlier for earlier, later in itertools.pairwise(stamps))
    assert 0.005 < backwards / len(stamps) < 0.05
    assert all(arrival.arrival_ns > arrival.sample.stamp_ns for arrival in looked.arrivals)


def test_without_faults_the_tracker_reports_where_the_eye_looks(clip):
    truth = look_at(clip, FAITHFUL)
    reported = np.array([[a.sample.x_px, a.sample.y_px] for a in truth.arrivals])
    assert np.array_equal(reported, truth.true_px)


def test_jitter_has_the_asked_sigma(clip):
    config = GazeConfig(
        jitter_px=3.0, drift_px=0.0, blinks_per_minute=0.0, late_share=0.0, doubled_share=0.0
    )
    truth = look_at(clip, config)
    reported = np.array([[a.sample.x_px, a.sample.y_px] for a in truth.arrivals])
    assert (reported - truth.true_px).std() == pytest.approx(3.0, rel=0.05)


def test_a_clip_without_anything_to_look_at_is_refused():
    with pytest.raises(ConfigError, match="shows none long enough"):
        look_at(Clip(ClipConfig(objects=1, seconds=0.2)), GazeConfig())
    with pytest.raises(ConfigError, match=r"visit_s\[1\] is 1"):
        GazeConfig(visit_s=(2, 1))
