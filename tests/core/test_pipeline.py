from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest

from engine.runtime import load_engine
from engine.runtime.fake import FakeEngine
from tests.core.pipeline_scenes import (
    MS,
    SIZE_HW,
    START_NS,
    answer,
    by_stamp,
    dwell,
    frames,
    play,
    play_on,
)
from tracevlm_ros.core.config import LiveConfig, PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.label_image import compose, label_of
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.settings import from_mapping
from tracevlm_ros.core.slow_path import DescribeRequest, describe
from tracevlm_ros.core.types import Frame, GazeSample


@pytest.fixture
def engine() -> Engine:
    return load_engine("fake")


def two_dwells() -> list[Frame | GazeSample]:
    return list(by_stamp(frames(40), dwell(40, 40, 0, 700), dwell(120, 80, 740, 1500, seed=6)))


def test_every_result_carries_the_stamp_and_frame_id_of_an_input_frame(engine: Engine) -> None:
    results, captions = play(Pipeline(PipelineConfig(), engine), two_dwells())
    stamps = [frame.stamp_ns for frame in frames(40)]
    assert [result.masks.stamp_ns for result in results] == stamps
    assert captions
    assert {caption.stamp_ns for caption in captions} <= set(stamps)
    assert {caption.frame_id for caption in captions} == {"scene_camera"}


def test_a_shift_of_attention_makes_two_traces_each_with_a_closing_caption(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    tail = dwell(120, 80, 1500, 1600, seed=8)
    lost = [
        GazeSample(START_NS + t * MS, float("nan"), float("nan"), 0.0) for t in range(1600, 2400, 8)
    ]
    _, captions = play(pipeline, by_stamp(frames(60), two_gazes(), tail, lost))
    closing = [caption.trace_id for caption in captions if not caption.trace_is_open]
    assert closing == [1, 2]


def two_gazes() -> list[GazeSample]:
    return [item for item in two_dwells() if isinstance(item, GazeSample)]


def test_a_mask_switches_to_new_embeddings_at_the_first_frame_after_the_delay(
    engine: Engine,
) -> None:
    config = PipelineConfig(live=LiveConfig(embedding_delay_ms=200.0))
    results, captions = play(Pipeline(config, engine), two_dwells())
    first_masked = next(r for r in results if 1 in r.masks.trace_ids)
    waited_ns = first_masked.frame.stamp_ns - captions[0].stamp_ns
    assert waited_ns == 200 * MS
    assert np.any(first_masked.masks.labels == label_of(1))


def test_an_answer_in_time_gives_the_same_masks_whenever_it_arrives(engine: Engine) -> None:
    at_once, _ = play(Pipeline(PipelineConfig(), engine), two_dwells())
    pipeline = Pipeline(PipelineConfig(), engine)
    waiting: list[tuple[int, DescribeRequest]] = []
    delayed: list[StepResult] = []
    for item in two_dwells():
        if isinstance(item, Frame):
            pipeline.add_frame(item)
        else:
            pipeline.add_gaze(item)
        while (result := pipeline.step()) is not None:
            delayed.append(result)
            waiting += [(len(delayed) + 3, request) for request in pipeline.requests()]
            for due, request in list(waiting):
                if due <= len(delayed):
                    answer(pipeline, request)
                    waiting.remove((due, request))
    assert pipeline.drops["embedding_late"] == 0
    for left, right in zip(at_once, delayed, strict=False):
        np.testing.assert_array_equal(left.masks.labels, right.masks.labels)


def test_a_late_answer_is_used_at_the_next_frame_and_counted(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(live=LiveConfig(embedding_delay_ms=0.0)), engine)
    answer(pipeline, unanswered(pipeline, two_dwells()).requests[0])
    assert pipeline.drops["embedding_late"] == 1


def traces_of(
    pipeline: Pipeline, items: Iterable[Frame | GazeSample], focal_px: float | None, at: int
) -> set[int]:
    """Ids of all traces shown; the focal length is told before item number ``at``."""
    shown: set[int] = set()
    for number, item in enumerate(items):
        if number == at:
            pipeline.lens = None if focal_px is None else Lens(focal_px)
        results, _ = play_on(pipeline, [item])
        shown |= {trace.trace_id for result in results for trace in result.traces}
    return shown


def near_dwells() -> list[Frame | GazeSample]:
    """24 px apart: 9 degrees if the image spans 60, 3 degrees for a focal length of 458 px."""
    return list(by_stamp(frames(40), dwell(60, 60, 0, 740), dwell(84, 60, 740, 1500, seed=6)))


@pytest.mark.parametrize("at", [0, 20])
def test_the_focal_length_says_how_many_degrees_a_shift_of_attention_is(
    engine: Engine, at: int
) -> None:
    assert traces_of(Pipeline(PipelineConfig(), engine), near_dwells(), None, at) == {1, 2}
    assert traces_of(Pipeline(PipelineConfig(), engine), near_dwells(), 458.0, at) == {1}


def test_a_trace_goes_on_when_the_camera_tells_its_focal_length_meanwhile(engine: Engine) -> None:
    one = list(by_stamp(frames(20), dwell(60, 60, 0, 760)))
    assert traces_of(Pipeline(PipelineConfig(), engine), one, 458.0, len(one) // 2) == {1}


def test_gaze_without_frames_and_frames_without_gaze_give_no_captions(engine: Engine) -> None:
    assert play(Pipeline(PipelineConfig(), engine), dwell(10, 10, 0, 500)) == ([], [])
    pipeline = Pipeline(PipelineConfig(), engine)
    results, captions = play(pipeline, frames(5))
    assert len(results) == 5
    assert captions == []
    assert pipeline.drops["frame_without_gaze"] == 5


def test_a_recording_that_starts_again_keeps_counting_trace_ids(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    _, first = play(pipeline, two_dwells())
    _, second = play(pipeline, two_dwells())
    assert max(c.trace_id for c in first) < min(c.trace_id for c in second)


def test_a_question_is_about_the_newest_trace_on_the_latest_frame(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    assert pipeline.ask("what is it?") is None
    results, _ = play(pipeline, two_dwells())
    request = pipeline.ask("what is it?")
    assert request is not None
    assert request.stamp_ns == results[-1].frame.stamp_ns
    assert request.trace_id == results[-1].traces[-1].trace_id
    assert answer(pipeline, request).question == "what is it?"


def test_a_trace_shorter_than_the_least_dwell_is_never_described_and_counted(
    engine: Engine,
) -> None:
    config = PipelineConfig(live=LiveConfig(min_dwell_ms=500.0))
    pipeline = Pipeline(config, engine)
    glance, look = dwell(40, 40, 0, 240), dwell(120, 80, 280, 1500, seed=6)
    results, captions = play(pipeline, by_stamp(frames(38), glance, look))
    assert {trace.trace_id for result in results for trace in result.traces} == {1, 2}
    assert {caption.trace_id for caption in captions} == {2}
    assert pipeline.drops["trace_too_short"] == 1


class Unanswered(NamedTuple):
    results: list[StepResult]
    requests: list[DescribeRequest]


def unanswered(pipeline: Pipeline, items: Iterable[Frame | GazeSample]) -> Unanswered:
    """Play ``items``; nobody describes anything."""
    played = Unanswered([], [])
    for item in items:
        if isinstance(item, Frame):
            pipeline.add_frame(item)
        else:
            pipeline.add_gaze(item)
        while (result := pipeline.step()) is not None:
            played.results.append(result)
            played.requests.extend(pipeline.requests())
    return played


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_description_without_a_mask_is_counted_and_gives_none(
    engine: Engine, has_mask: bool
) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    one = list(by_stamp(frames(40), dwell(40, 40, 0, 1560)))
    request = unanswered(pipeline, one[: len(one) // 2]).requests[0]
    *_, (_, description) = describe(engine, request)
    if not has_mask:
        description = description._replace(seg_embeddings=None)
    pipeline.deliver(request, description)
    assert pipeline.drops["description_without_mask"] == (not has_mask)
    results = unanswered(pipeline, one[len(one) // 2 :]).results
    assert any(result.masks.labels.any() for result in results) == has_mask


def test_a_description_of_a_trace_that_is_gone_is_counted(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(live=LiveConfig(linger_ms=0.0)), engine)
    request = unanswered(pipeline, two_dwells()).requests[0]
    assert request.trace_id == 1
    answer(pipeline, request)
    assert pipeline.drops["description_of_gone_trace"] == 1
    assert pipeline.drops["embedding_late"] == 0


def test_where_two_masks_overlap_the_higher_logit_wins() -> None:
    frame = frames(1)[0]
    weak, strong = np.full((4, 4), 1.0, np.float32), np.full((4, 4), -1.0, np.float32)
    strong[:, :2] = 2.0
    masks = compose(frame, [3, 9], [weak, strong])
    assert masks.labels.shape == SIZE_HW
    assert masks.labels[0, 0] == 9
    assert masks.labels[0, -1] == 3
    assert masks.trace_ids == (3, 9)


def test_trace_ids_beyond_sixteen_bits_still_have_a_label() -> None:
    assert [label_of(i) for i in (1, 65_535, 65_536, 65_537)] == [1, 65_535, 1, 2]


def test_a_black_frame_does_not_end_the_trace_but_a_cut_does(engine: Engine) -> None:
    still = frames(20)
    black = still[8]._replace(image_rgb=np.zeros_like(still[8].image_rgb))
    other = np.random.default_rng(99).integers(0, 255, still[0].image_rgb.shape).astype(np.uint8)
    gaze = dwell(40, 40, 0, 780)

    def traces_of(pictures: list[Frame]) -> set[int]:
        results, _ = play(Pipeline(PipelineConfig(), engine), by_stamp(pictures, gaze))
        return {trace.trace_id for result in results for trace in result.traces}

    assert traces_of([*still[:8], black, *still[9:]]) == {1}
    assert traces_of([*still[:8], *(f._replace(image_rgb=other) for f in still[8:])]) == {1, 2}


class ForgetfulEngine(FakeEngine):
    """Answers nothing but "not the object" from the frame ``silent_from`` on."""

    silent_from = 10**9

    def encode(self, image_rgb):  # type: ignore[no-untyped-def]
        self.silent_from -= 1
        return super().encode(image_rgb)

    def segment(self, grounded, seg_embeddings, priors=None):  # type: ignore[no-untyped-def]
        answers = super().segment(grounded, seg_embeddings, priors)
        return [a if a is None or self.silent_from > 0 else -np.abs(a) for a in answers]


@pytest.mark.parametrize(("enabled", "is_kept"), [(True, True), (False, False)])
def test_a_mask_outlives_a_few_wrong_answers_only_with_its_memory(
    enabled: bool, is_kept: bool
) -> None:
    picture = np.full((*SIZE_HW, 3), (40, 120, 50), dtype=np.uint8)
    picture[20:60, 20:60] = (180, 40, 40)
    texture = np.random.default_rng(3).integers(0, 30, (*SIZE_HW, 1)).astype(np.uint8)
    still = [frame._replace(image_rgb=picture + texture) for frame in frames(40)]
    forgetful = ForgetfulEngine()
    forgetful.silent_from = 20
    memory = MaskMemoryConfig(enabled=enabled)
    pipeline = Pipeline(PipelineConfig(memory=memory), forgetful)
    results, _ = play(pipeline, by_stamp(still, dwell(40, 40, 0, 700)))
    silent = [i for i, r in enumerate(results) if r.traces][20:22]
    assert all(np.any(results[i].masks.labels > 0) == is_kept for i in silent)


def test_settings_that_change_between_two_frames_take_effect_and_lose_nothing(
    engine: Engine,
) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    items = two_dwells()
    middle = START_NS + 1100 * MS
    before, _ = play(pipeline, [item for item in items if item.stamp_ns < middle])
    assert len(before[-1].traces) == 2
    pipeline.change(PipelineConfig(live=LiveConfig(max_traces=1), gaze_offset_ms=4.0))
    after, _ = play(pipeline, [item for item in items if item.stamp_ns >= middle])
    assert {len(one.traces) for one in after} == {1}
    assert after[-1].traces[0].trace_id == before[-1].traces[-1].trace_id
    newest = max(item.stamp_ns for item in items if isinstance(item, GazeSample))
    assert pipeline._sync.gaze_watermark_ns == newest + 4 * MS


def test_a_setting_that_stages_have_taken_apart_cannot_change(engine: Engine) -> None:
    pipeline = Pipeline(PipelineConfig(), engine)
    changed = PipelineConfig(memory=MaskMemoryConfig(long_side=200), live=LiveConfig(max_traces=1))
    with pytest.raises(ConfigError, match=r"memory.long_side' is 160 .* for 200"):
        pipeline.change(changed)
    assert pipeline.config == PipelineConfig()


@pytest.mark.parametrize("name", ["memory.kept", "fovea.reach", "dwell.window_s"])
def test_a_changed_setting_gives_what_a_pipeline_made_with_it_gives(
    engine: Engine, name: str
) -> None:
    section, leaf = name.split(".")
    changed = from_mapping(PipelineConfig, {section: {leaf: 1.0}})
    made, running = Pipeline(changed, engine), Pipeline(PipelineConfig(), engine)
    running.change(changed)
    expected, _ = play(made, two_dwells())
    given, _ = play(running, two_dwells())
    for one, other in zip(given, expected, strict=True):
        assert np.array_equal(one.masks.labels, other.masks.labels)
    assert np.array_equal(running.attention.render(SIZE_HW), made.attention.render(SIZE_HW))
