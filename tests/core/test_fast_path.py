"""A model that reads strokes gives masks before words, and goes on from them."""

import numpy as np
import pytest

from engine.contract import CODEBOOK_TOKENS
from engine.runtime.fake import RADIUS, FakeEngine
from tests.core.pipeline_scenes import MS, by_stamp, dwell, frames
from tracevlm_ros.core.config import LiveConfig, PipelineConfig
from tracevlm_ros.core.fovea import FoveaConfig
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest, describe

WITH_FOVEA = PipelineConfig(fovea=FoveaConfig(enabled=True))


class StrokeReader(FakeEngine):
    """Discs without words too; every call is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[bool]] = []
        """Per call, of each trace that it asked about: was a prior given?"""

    @property
    def unspoken(self):  # type: ignore[no-untyped-def,override]
        return np.full((CODEBOOK_TOKENS, 8), RADIUS, np.float32)

    def segment(self, grounded, seg_embeddings, priors=None):  # type: ignore[no-untyped-def]
        given = [None] * len(seg_embeddings) if priors is None else priors
        self.asked.append(
            [p is not None for p, e in zip(given, seg_embeddings, strict=True) if e is not None]
        )
        return super().segment(grounded, seg_embeddings, priors)


def steps(engine: FakeEngine, config: PipelineConfig) -> list[StepResult]:
    """One trace of 700 ms over 25 frames; nobody describes it."""
    return [result for result, _ in steps_and_requests(engine, config)]


def steps_and_requests(
    engine: FakeEngine, config: PipelineConfig
) -> list[tuple[StepResult, tuple[DescribeRequest, ...]]]:
    pipeline = Pipeline(config, engine)
    found = []
    for item in by_stamp(frames(25), dwell(40, 40, 0, 700)):
        add = pipeline.add_frame if hasattr(item, "image_rgb") else pipeline.add_gaze
        add(item)  # type: ignore[arg-type]
        while (result := pipeline.step()) is not None:
            found.append((result, pipeline.requests()))
    return found


def first_with_trace(results: list[StepResult]) -> StepResult:
    return next(result for result in results if result.traces)


def test_a_trace_has_a_mask_in_its_first_frame_before_any_word() -> None:
    first = first_with_trace(steps(StrokeReader(), PipelineConfig()))
    assert np.any(first.masks.labels == label_of(first.traces[0].trace_id))
    silent = first_with_trace(steps(FakeEngine(), PipelineConfig()))
    assert not np.any(silent.masks.labels)


@pytest.mark.parametrize("prior", [True, False])
def test_the_model_is_shown_what_the_memory_expects_only_where_that_is_asked_for(
    prior: bool,
) -> None:
    engine = StrokeReader()
    config = PipelineConfig(memory=MaskMemoryConfig(prior=prior, ask_every=1))
    results = [r for r in steps(engine, config) if r.traces]
    assert engine.asked == [[False]] + [[prior]] * (len(results) - 1)


@pytest.mark.parametrize(("every", "within_ms"), [(1, 100.0), (2, 100.0), (2, 0.0), (4, 1e4)])
def test_the_model_is_asked_in_some_frames_and_every_frame_has_a_mask(
    every: int, within_ms: float
) -> None:
    engine = StrokeReader()
    memory = MaskMemoryConfig(ask_every=every, ask_within_ms=within_ms)
    results = [r for r in steps(engine, PipelineConfig(memory=memory)) if r.traces]
    asked_every = 1 if within_ms == 0.0 else every
    assert len(engine.asked) == -(-len(results) // asked_every)
    assert all(np.any(r.masks.labels) for r in results)


def test_without_a_memory_the_model_is_asked_in_every_frame() -> None:
    engine = StrokeReader()
    memory = MaskMemoryConfig(enabled=False, ask_every=4)
    results = [r for r in steps(engine, PipelineConfig(memory=memory)) if r.traces]
    assert len(engine.asked) == len(results)


def test_first_words_go_on_from_the_mask_of_the_stroke() -> None:
    engine = StrokeReader()
    live = LiveConfig(embedding_delay_ms=0.0, min_dwell_ms=100.0)
    pipeline = Pipeline(PipelineConfig(live=live, memory=MaskMemoryConfig(prior=True)), engine)
    answered_ns = None
    for item in by_stamp(frames(25), dwell(40, 40, 0, 700)):
        add = pipeline.add_frame if hasattr(item, "image_rgb") else pipeline.add_gaze
        add(item)  # type: ignore[arg-type]
        while (result := pipeline.step()) is not None:
            for request in pipeline.requests():
                *_, (_, description) = describe(engine, request)
                pipeline.deliver(request, description)
                answered_ns = answered_ns or result.frame.stamp_ns
    assert answered_ns is not None
    assert answered_ns < frames(25)[-1].stamp_ns - 100 * MS
    assert engine.asked.count([False]) == 1


class Comparer(StrokeReader):
    """Tells colours of a coarse grid as what it sees."""

    def descriptors(self, features):  # type: ignore[no-untyped-def,override]
        picture = features.image_rgb[::8, ::8].astype(np.float32)
        return picture / 255 - 0.5


def test_the_memory_sees_each_frame_as_the_encoder_does() -> None:
    """Masks differ from those of an engine that tells nothing, and only from the second frame on,
    when there is something to compare with."""
    one, other = (
        [r.masks.labels for r in steps(engine, PipelineConfig()) if r.traces]
        for engine in (Comparer(), StrokeReader())
    )
    np.testing.assert_array_equal(one[0], other[0])
    assert any((a != b).any() for a, b in zip(one[1:], other[1:], strict=True))


class Onlooker(StrokeReader):
    """A model of 16 x 16 pixels, so that small frames are large to it; notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, int]] = []

    @property
    def info(self):  # type: ignore[no-untyped-def,override]
        return super().info._replace(image_size_hw=(16, 16))

    def encode(self, image_rgb):  # type: ignore[no-untyped-def,override]
        self.shown.append(image_rgb.shape[:2])
        return super().encode(image_rgb)


def test_masks_are_looked_for_round_the_trace_and_words_in_the_whole_frame() -> None:
    engine = Onlooker()
    found = [each for each in steps_and_requests(engine, WITH_FOVEA) if each[0].traces]
    whole_hw = found[0][0].frame.image_rgb.shape[:2]
    asked = [request for _, requests in found for request in requests]
    assert asked
    assert engine.shown.count(whole_hw) == len(asked)
    assert len(engine.shown) == len(found) + len(asked)
    assert max(size[1] for size in engine.shown if size != whole_hw) <= 0.6 * whole_hw[1]
    for request in asked:
        assert request.grounded.image_rgb.shape[:2] == whole_hw


def test_masks_are_there_before_the_whole_frame_is_looked_at_for_words() -> None:
    engine = Onlooker()
    pipeline = Pipeline(WITH_FOVEA, engine)
    for item in by_stamp(frames(25), dwell(40, 40, 0, 700)):
        add = pipeline.add_frame if hasattr(item, "image_rgb") else pipeline.add_gaze
        add(item)  # type: ignore[arg-type]
        while pipeline.step() is not None:
            before = len(engine.shown)
            requests = pipeline.requests()
            assert len(engine.shown) - before == len(requests)
            assert pipeline.requests() == ()


@pytest.mark.parametrize("has_memory", [False, True])
def test_a_mask_lies_where_it_would_without_a_window(has_memory: bool) -> None:
    """Discs of the fake engine are shares of what it sees, so they are smaller; their middles are
    the same."""
    settings = {"memory": MaskMemoryConfig(enabled=has_memory, colour_weight=0.0)}
    middles = []
    for fovea in (FoveaConfig(enabled=True), FoveaConfig(enabled=False)):
        config = PipelineConfig(fovea=fovea, **settings)  # type: ignore[arg-type]
        results = [r for r in steps(Onlooker(), config) if r.traces]
        middles.append([np.argwhere(r.masks.labels > 0).mean(axis=0) for r in results])
    np.testing.assert_allclose(middles[0], middles[1], atol=2.0)


def test_a_question_is_answered_from_the_whole_frame() -> None:
    pipeline = Pipeline(WITH_FOVEA, Onlooker())
    for item in by_stamp(frames(25), dwell(40, 40, 0, 700)):
        add = pipeline.add_frame if hasattr(item, "image_rgb") else pipeline.add_gaze
        add(item)  # type: ignore[arg-type]
        while (result := pipeline.step()) is not None:
            asked = pipeline.ask("what is it ?")
            if asked is not None:
                assert asked.grounded.image_rgb.shape == result.frame.image_rgb.shape
                assert pipeline.ask("and its colour ?").grounded is asked.grounded
                return
    raise AssertionError("no trace was ever shown")
