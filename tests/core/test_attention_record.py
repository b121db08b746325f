import numpy as np
import pytest

from engine.runtime import load_engine
from tests.core.pipeline_scenes import MS, SIZE_HW, START_NS, by_stamp, dwell, frames, play
from tracevlm_ros.core.attention.dwell import DwellConfig
from tracevlm_ros.core.attention.events import TraceClosed, TraceGrown, TraceOpened
from tracevlm_ros.core.attention_record import AttentionRecord
from tracevlm_ros.core.camera_path import CameraPath
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.tracking.motion import still
from tracevlm_ros.core.types import Frame, GazeSample, Image


def two_looks(start_ns: int = START_NS) -> list[Frame | GazeSample]:
    return list(
        by_stamp(
            frames(38, start_ns=start_ns),
            dwell(40, 40, 0, 700, start_ns=start_ns),
            dwell(120, 80, 740, 1480, seed=6, start_ns=start_ns),
        )
    )


def test_a_bag_loop_gives_no_transition_across_and_keeps_the_last_look_whole() -> None:
    pipeline = Pipeline(PipelineConfig(), load_engine("fake"))
    play(pipeline, two_looks())
    before = pipeline.attention.dwell_s()
    play(pipeline, two_looks())
    transitions = pipeline.attention.transitions()
    assert [(step.from_id, step.to_id) for step in transitions] == [(1, 2), (3, 4)]
    assert all(0 <= step.gap_s < 0.2 for step in transitions)
    after = pipeline.attention.dwell_s()
    assert set(after) == {1, 2, 3, 4}
    assert {trace_id: after[trace_id] for trace_id in before} == before


def test_a_jump_forward_gives_no_transition_across() -> None:
    pipeline = Pipeline(PipelineConfig(), load_engine("fake"))
    play(pipeline, two_looks())
    play(pipeline, two_looks(START_NS + 100_000 * MS))
    transitions = pipeline.attention.transitions()
    assert [(step.from_id, step.to_id) for step in transitions] == [(1, 2), (3, 4)]


def test_what_was_still_undecided_when_the_loop_came_counts_as_looked_at() -> None:
    """At high rates a fixation's samples are decided late, those before a loop by the loop."""
    pipeline = Pipeline(PipelineConfig(), load_engine("fake"))
    look = [
        GazeSample(START_NS + round(i * 2.5 * MS), 40.0, 40.0)
        for i in range(305)  # the last frame stands at 760 ms
    ]
    play(pipeline, list(by_stamp(frames(20), look)))
    known = pipeline.attention.dwell_s()[1]
    pipeline.reset()
    assert known < pipeline.attention.dwell_s()[1] == pytest.approx(0.76, abs=0.003)


def test_a_cut_empties_the_map_also_of_what_was_still_undecided() -> None:
    pipeline = Pipeline(PipelineConfig(), load_engine("fake"))
    before, after = frames(20)[:10], frames(20)[10:]
    other = np.random.default_rng(99).integers(0, 255, before[0].image_rgb.shape).astype(np.uint8)
    look = [GazeSample(START_NS + round(i * 2.5 * MS), 40.0, 40.0) for i in range(144)]
    play(pipeline, by_stamp(before, [frame._replace(image_rgb=other) for frame in after], look))
    assert pipeline.drops["frame_cut"] == 1
    assert not pipeline.attention.render(SIZE_HW).any()
    assert pipeline.attention.dwell_s() == {1: pytest.approx(0.36, abs=0.01)}


def test_dwell_is_the_time_looked_at_each_place() -> None:
    pipeline = Pipeline(PipelineConfig(), load_engine("fake"))
    play(pipeline, two_looks())
    assert pipeline.attention.dwell_s() == {
        1: pytest.approx(0.70, abs=0.03),
        2: pytest.approx(0.74, abs=0.03),
    }


def record() -> AttentionRecord:
    return AttentionRecord(DwellConfig(), CameraPath(), Drops())


def look_at(record: AttentionRecord, x_px: float, y_px: float) -> None:
    """One trace that stays there for half a second after the first frame."""
    record.advance(START_NS, still(ok=True))
    samples = [GazeSample(START_NS + i * 10 * MS, x_px, y_px) for i in range(51)]
    record.observe(TraceOpened(1, START_NS))
    for sample in samples:
        record.observe(TraceGrown(1, sample, False, 1.0, 0))
    record.observe(TraceClosed(1, samples[-1].stamp_ns, "shift"))


def peak_xy(picture: Image) -> tuple[int, int]:
    y, x = np.unravel_index(np.argmax(picture), picture.shape)
    return int(x), int(y)


def test_camera_motion_moves_the_map_and_a_cut_empties_it() -> None:
    looked = record()
    look_at(looked, 40, 48)
    assert peak_xy(looked.render(SIZE_HW)) == pytest.approx((40, 48), abs=4)
    shift = np.array([[1, 0, 48], [0, 1, 24], [0, 0, 1]], np.float64)
    looked.advance(START_NS + 540 * MS, still(ok=True)._replace(homography=shift))
    assert peak_xy(looked.render(SIZE_HW)) == pytest.approx((88, 72), abs=4)
    looked.advance(START_NS + 580 * MS, still("cut"))
    assert not looked.render(SIZE_HW).any()


def test_a_reset_empties_the_map_and_keeps_the_dwell_times() -> None:
    looked = record()
    look_at(looked, 40, 48)
    looked.reset()
    assert not looked.render(SIZE_HW).any()
    assert looked.dwell_s() == {1: pytest.approx(0.5)}
