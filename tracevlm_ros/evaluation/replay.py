"""Samples through the pipeline, offline: as fast as it goes, no threads, deterministic.

The pipeline is the live node's. Here every request is described at once and handed back before the
next frame, so nothing is dropped for want of time, and two runs give the same results.
"""

import time
from collections.abc import Generator, Iterable, Iterator

from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest, describe
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption
from tracevlm_ros.evaluation.recording import Sample


def replay(
    samples: Iterable[Sample], pipeline: Pipeline, engine: Engine
) -> Generator[FrameOutcome, None, None]:
    """Run ``samples`` to their end; one outcome for each frame that the pipeline takes.

    ``engine`` is the pipeline's own. Wall times are measured beside the results, never used.
    """
    for sample in samples:
        add_sample(pipeline, sample)
        yield from _drain(pipeline, engine)
    pipeline.flush()
    yield from _drain(pipeline, engine)


def add_sample(pipeline: Pipeline, sample: Sample) -> None:
    """Hand ``sample`` to where it belongs."""
    if isinstance(sample, Frame):
        pipeline.add_frame(sample)
    elif isinstance(sample, GazeSample):
        pipeline.add_gaze(sample)
    elif isinstance(sample, Lens):
        pipeline.lens = sample
    else:
        pipeline.add_word(sample)


def _drain(pipeline: Pipeline, engine: Engine) -> Iterator[FrameOutcome]:
    while True:
        before = time.perf_counter()
        result = pipeline.step()
        if result is None:
            return
        yield _outcome(pipeline, engine, result, (time.perf_counter() - before) * 1e3)


def _outcome(
    pipeline: Pipeline, engine: Engine, result: StepResult, step_ms: float
) -> FrameOutcome:
    before = time.perf_counter()
    captions: list[SpokenCaption] = []
    requests = pipeline.requests()
    for request in requests:
        captions += _answer(pipeline, engine, request)
    describe_ms = (time.perf_counter() - before) * 1e3 if requests else None
    return FrameOutcome(
        result.frame, result.masks, result.traces, tuple(captions), step_ms, describe_ms
    )


def _answer(
    pipeline: Pipeline, engine: Engine, request: DescribeRequest
) -> Iterator[SpokenCaption]:
    last = None
    for caption, description in describe(engine, request):
        last = description
        yield SpokenCaption(caption)
    if last is not None:
        pipeline.deliver(request, last)
