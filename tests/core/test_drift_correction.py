import numpy as np
import pytest

from engine.runtime import load_engine
from tests.core.pipeline_scenes import MS, SIZE_HW, START_NS, by_stamp, dwell, frames
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drift_correction import DriftConfig, DriftCorrection, KnownPlace
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.gaze_mapping import GazeMapping
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.settings import from_mapping
from tracevlm_ros.core.types import Frame, GazeSample, PenState

ON = DriftConfig(enabled=True)


class Wearer:
    """Looks at a place a second, each known or pointed at; gaze is off by ``drift_px``."""

    def __init__(self, config: DriftConfig = ON, noise_px: float = 2.0) -> None:
        self.drops = Drops()
        self.correction = DriftCorrection(config, self.drops)
        self._rng = np.random.default_rng(0)
        self._noise_px = noise_px
        self._second = 0

    def look(
        self, drift_px: tuple[float, float], times: int = 1, elsewhere_px: float = 0.0
    ) -> tuple[float, float]:
        for _ in range(times):
            start_ns = self._second * 1000 * MS
            x, y = self._rng.uniform(100, 500, 2)
            for step in range(60):
                if step == 30:
                    self.correction.add_place(KnownPlace(start_ns + 300 * MS, x, y))
                noise = self._rng.normal(0, self._noise_px, 2)
                self.correction.observe(
                    start_ns + step * 10 * MS,
                    x + drift_px[0] + elsewhere_px + noise[0],
                    y + drift_px[1] + noise[1],
                )
            self._second += 1
        return self.correction.offset_px


def test_drift_is_taken_back_within_a_few_agreements() -> None:
    wearer = Wearer()
    assert wearer.look((25, -12), times=12) == pytest.approx((-25, 12), abs=2)
    assert wearer.correction.apply(125, 88) == pytest.approx((100, 100), abs=2)
    assert +wearer.drops == {}


def test_nothing_changes_before_three_agreements_and_then_by_four_pixels_at_a_time() -> None:
    wearer = Wearer()
    assert wearer.look((25, 0), times=2) == (0.0, 0.0)
    before = (0.0, 0.0)
    for _ in range(4):
        now = wearer.look((25, 0))
        assert np.hypot(now[0] - before[0], now[1] - before[1]) <= 4.0 + 1e-9
        assert now != before
        before = now


def test_drift_that_comes_slowly_is_followed() -> None:
    wearer = Wearer()
    for second in range(60):
        wearer.look((0.5 * second, 0))
    assert wearer.correction.offset_px[0] == pytest.approx(-0.5 * 59, abs=6)


def test_the_correction_never_exceeds_its_bound() -> None:
    wearer = Wearer(DriftConfig(enabled=True, max_px=15.0))
    for drift in ((60, 0), (0, 60), (-60, -60)):
        offset = wearer.look(drift, times=20)
        assert np.hypot(*offset) <= 15.0 + 1e-9
    assert np.hypot(*offset) == pytest.approx(15.0, abs=0.5)


def test_a_third_of_wrong_agreements_does_not_pull_it_away() -> None:
    wearer = Wearer()
    for turn in range(30):
        wearer.look((20, 0), elsewhere_px=60.0 if turn % 3 == 0 else 0.0)
    assert wearer.correction.offset_px == pytest.approx((-20, 0), abs=3)


def test_places_that_were_not_looked_at_are_counted_by_reason() -> None:
    wearer = Wearer()
    wearer.look((0, 0), times=3, elsewhere_px=200.0)
    assert wearer.drops == {"drift_gaze_elsewhere": 3}
    wearer.correction.add_place(KnownPlace(10_000 * MS, 5, 5))
    wearer.correction.add_place(KnownPlace(10_100 * MS, 5, 5))
    wearer.correction.observe(11_000 * MS, 5, 5)
    assert wearer.drops["drift_place_too_soon"] == 1
    assert wearer.drops["drift_gaze_missing"] == 1
    unsteady = Wearer(noise_px=80.0)
    unsteady.look((0, 0))
    assert unsteady.drops == {"drift_gaze_unsteady": 1}


def test_it_is_off_unless_switched_on() -> None:
    wearer = Wearer(DriftConfig())
    assert wearer.look((25, 0), times=10) == (0.0, 0.0)
    assert +wearer.drops == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_px": -1}, "drift.max_px"),
        ({"memory": 2}, "min_agreements"),
        ({"px": 1}, "'drift.px'"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(PipelineConfig, {"drift": values})


def first_keypoint_x(pipeline: Pipeline, items: list[Frame | GazeSample]) -> list[float]:
    """x of the newest trace's newest keypoint at every frame that shows one."""
    found = []
    for item in items:
        (pipeline.add_frame if isinstance(item, Frame) else pipeline.add_gaze)(item)
    pipeline.flush()
    while (result := pipeline.step()) is not None:
        found += [result.traces[-1].keypoints.xy_px[-1, 0]] if result.traces else []
    return found


def test_pen_strokes_in_the_gaze_stream_teach_the_pipeline() -> None:
    config = PipelineConfig(drift=DriftConfig(enabled=True, interval_ms=300, step_px=20))
    pipeline = Pipeline(config, load_engine("fake"))
    taps = [
        GazeSample(START_NS + t * MS + 3, 70.0, 50.0, 1.0, PenState.DOWN)
        for t in (300, 700, 1100, 1500)
    ]
    looked = dwell(80, 50, 0, 4000)
    assert first_keypoint_x(pipeline, list(by_stamp(frames(100), looked, taps)))
    assert pipeline.drift.offset_px == pytest.approx((-10, 0), abs=1)
    pipeline.reset()
    assert pipeline.drift.offset_px == (0.0, 0.0)


def test_known_places_teach_the_pipeline_after_the_calibration() -> None:
    """Gaze says 80; calibration makes 100 of it; the place is known to be at 90."""
    config = PipelineConfig(drift=DriftConfig(enabled=True, interval_ms=300, step_px=20))
    right = GazeMapping(model="affine", parameters=(20 / SIZE_HW[1], 0, 1, 0, 0, 1))
    pipeline = Pipeline(config, load_engine("fake"), right)
    for t in (300, 700, 1100, 1500):
        pipeline.add_known_place(KnownPlace(START_NS + t * MS, 90.0, 50.0))
    found = first_keypoint_x(pipeline, list(by_stamp(frames(100), dwell(80, 50, 0, 4000))))
    assert found[0] == pytest.approx(100, abs=2)
    assert pipeline.drift.offset_px == pytest.approx((-10, 0), abs=1)


def test_the_calibration_moves_gaze_and_leaves_a_pointer_where_it_is() -> None:
    right = GazeMapping(model="affine", parameters=(20 / SIZE_HW[1], 0, 1, 0, 0, 1))
    stroke = [sample._replace(pen=PenState.DOWN) for sample in dwell(60, 50, 0, 800)]
    for samples, wanted in ((dwell(60, 50, 0, 800), 80), (stroke, 60)):
        pipeline = Pipeline(PipelineConfig(), load_engine("fake"), right)
        found = first_keypoint_x(pipeline, list(by_stamp(frames(20), samples)))
        assert found[-1] == pytest.approx(wanted, abs=3)


def test_a_gaze_offset_shifts_gaze_and_not_the_pen() -> None:
    for pen, wanted_ms in ((PenState.UNKNOWN, 250.0), (PenState.DOWN, 0.0)):
        pipeline = Pipeline(PipelineConfig(gaze_offset_ms=250.0), load_engine("fake"))
        samples = [sample._replace(pen=pen) for sample in dwell(60, 50, 0, 900)]
        for item in by_stamp(frames(40), samples):
            (pipeline.add_frame if isinstance(item, Frame) else pipeline.add_gaze)(item)
        pipeline.flush()
        starts = set()
        while (result := pipeline.step()) is not None:
            starts |= {trace.start_ns for trace in result.traces}
        assert (min(starts) - START_NS) / MS == pytest.approx(wanted_ms, abs=60)
