"""When a step's work is done, and by which thread, changes no result; nor does what is spared."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from engine.runtime.fake import FakeEngine, FakeFeatures
from tests.core.pipeline_scenes import MS, START_NS
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.errors import BackendError
from tracevlm_ros.core.fovea import FoveaConfig
from tracevlm_ros.core.live_traces import LiveTraces
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import describe
from tracevlm_ros.core.tracking import TraceTracker
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.synthetic.clip import Clip, ClipConfig

T = TypeVar("T")

SIZE_HW = (180, 240)
PERIOD_MS = 40
BLACK, CUT, SMALLER = 30, 40, 50
ASKEW_CELLS = 4


class AskewEngine(FakeEngine):
    """Its masks lie beside the traces, so that points have to be pulled."""

    def segment(self, grounded, seg_embeddings, priors=None):  # type: ignore[no-untyped-def]
        answers = super().segment(grounded, seg_embeddings, priors)
        return [None if each is None else np.roll(each, ASKEW_CELLS, axis=1) for each in answers]


def moving_frames() -> list[Frame]:
    """Things that move past each other, a black frame, a cut and a change of size."""
    height, width = SIZE_HW
    clip = Clip(ClipConfig(height=height, width=width, rate_hz=1e3 / PERIOD_MS, seconds=2.4))
    images = [frame.image_rgb for frame in clip.frames()]
    images[BLACK] = np.zeros_like(images[BLACK])
    images[CUT:] = [np.ascontiguousarray(image[::-1, ::-1]) for image in images[CUT:]]
    images[SMALLER:] = [np.ascontiguousarray(image[:150]) for image in images[SMALLER:]]
    return [Frame(START_NS + i * PERIOD_MS * MS, image) for i, image in enumerate(images)]


def jumping_gaze() -> list[GazeSample]:
    rng = np.random.default_rng(2)
    places = np.repeat(rng.uniform(0.1, 0.8, (8, 2)) * SIZE_HW[::-1], 40, axis=0)
    noisy = places + rng.normal(0, 0.5, places.shape)
    return [GazeSample(START_NS + i * 8 * MS, float(x), float(y)) for i, (x, y) in enumerate(noisy)]


def play(pipeline: Pipeline, after: Callable[[Pipeline], None]) -> Iterator[StepResult]:
    """All results; every description is delivered, then ``after`` called."""
    for sample in jumping_gaze():
        pipeline.add_gaze(sample)
    for frame in moving_frames():
        pipeline.add_frame(frame)
        while (step := pipeline.step()) is not None:
            yield step
            for request in pipeline.requests():
                *_, (_, description) = describe(pipeline.engine, request)
                pipeline.deliver(request, description)
            after(pipeline)


def do_nothing(_pipeline: Pipeline) -> None:
    pass


WHOLE_FRAMES = PipelineConfig()
WINDOWS = PipelineConfig(fovea=FoveaConfig(enabled=True, magnify=16.0))


def play_plainly(config: PipelineConfig = WHOLE_FRAMES) -> list[StepResult]:
    return list(play(Pipeline(config, AskewEngine()), do_nothing))


def require_same(one: list[StepResult], other: list[StepResult]) -> None:
    assert len(one) == len(other) == len(moving_frames())
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.masks.labels, right.masks.labels)
        assert left.masks.trace_ids == right.masks.trace_ids
        for mine, theirs in zip(left.traces, right.traces, strict=True):
            for values, others in zip(mine.keypoints, theirs.keypoints, strict=True):
                np.testing.assert_array_equal(values, others)


def test_settling_after_a_result_was_used_gives_what_the_next_step_would_have_made() -> None:
    settled = play(Pipeline(PipelineConfig(), AskewEngine()), Pipeline.settle)
    require_same(play_plainly(), list(settled))


def test_settling_twice_or_before_any_frame_changes_nothing() -> None:
    def settle_twice(pipeline: Pipeline) -> None:
        pipeline.settle()
        pipeline.settle()

    pipeline = Pipeline(PipelineConfig(), AskewEngine())
    pipeline.settle()
    require_same(play_plainly(), list(play(pipeline, settle_twice)))


class DistantEngine(AskewEngine):
    """Computes elsewhere, notes what it was shown, and refuses two calls at once."""

    def __init__(self) -> None:
        super().__init__(encode_ms=0.1)
        self.shown = 0
        self._alone = threading.Lock()

    def encode(self, image_rgb):  # type: ignore[no-untyped-def]
        self.shown += 1
        with self._only():
            return super().encode(image_rgb)

    def segment(self, grounded, seg_embeddings, priors=None):  # type: ignore[no-untyped-def]
        with self._only():
            return super().segment(grounded, seg_embeddings, priors)

    @contextlib.contextmanager
    def _only(self) -> Iterator[None]:
        assert self._alone.acquire(blocking=False), "two calls overlap"
        try:
            yield
        finally:
            self._alone.release()


@pytest.mark.parametrize("make", [AskewEngine, DistantEngine])
@pytest.mark.parametrize("config", [WHOLE_FRAMES, WINDOWS], ids=["frame", "window"])
def test_work_in_other_threads_gives_the_same_results(
    config: PipelineConfig, make: type[AskewEngine]
) -> None:
    with ThreadPoolExecutor(2) as pool:

        def beside(work: Callable[[], T]) -> Callable[[], T]:
            return pool.submit(work).result

        pipeline = Pipeline(config, make(), beside=beside)
        require_same(play_plainly(config), list(play(pipeline, Pipeline.settle)))


def test_the_encoder_begins_with_the_step_where_it_looked_before() -> None:
    """A frame is encoded once where the window stays, twice where it moves or the size changes."""
    early, plain = DistantEngine(), DistantEngine()
    begun_first = []

    def beside(work: Callable[[], T]) -> Callable[[], T]:
        result = work()
        begun_first.append(result)
        return lambda: result

    require_same(
        list(play(Pipeline(WINDOWS, early, beside=beside), do_nothing)),
        list(play(Pipeline(WINDOWS, plain), do_nothing)),
    )
    in_vain = early.shown - plain.shown
    encodings = sum(isinstance(result, FakeFeatures) for result in begun_first)
    assert 0 < in_vain < encodings / 4


def test_an_encoding_that_fails_early_fails_the_step_that_wants_it() -> None:
    class Broken(DistantEngine):
        def encode(self, image_rgb):  # type: ignore[no-untyped-def]
            if self.shown == 3:
                raise BackendError("the GPU is gone")
            return super().encode(image_rgb)

    def beside(work: Callable[[], T]) -> Callable[[], T]:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result

    pipeline = Pipeline(PipelineConfig(fovea=FoveaConfig(enabled=False)), Broken(), beside=beside)
    with pytest.raises(BackendError, match="the GPU is gone"):
        list(play(pipeline, do_nothing))


@pytest.mark.parametrize("config", [WHOLE_FRAMES, WINDOWS], ids=["frame", "window"])
def test_masks_at_the_size_of_the_frame_are_spared_only_where_no_point_would_move(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against making every mask and asking the tracker every time."""
    sparing = play_plainly(config)
    calls: list[int] = []
    for name in ("reanchor", "steer"):
        plain = getattr(TraceTracker, name)

        def counted(*arguments: object, plain: Callable[..., int] = plain) -> int:
            calls.append(plain(*arguments))
            return calls[-1]

        monkeypatch.setattr(TraceTracker, name, counted)
    monkeypatch.setattr(LiveTraces, "_all_on", lambda *_, **__: False)
    require_same(sparing, play_plainly(config))
    assert 0 in calls
    assert any(calls)
