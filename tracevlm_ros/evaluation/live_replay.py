"""Samples through the pipeline at their own pace, with the drops of a live run.

Three threads, as on the robot: the source gives each sample when its time has come, the fast path
takes the newest frames, the slow path describes. A frame that finds ``FRAME_DEPTH`` others waiting
pushes the oldest out (``frame_not_processed``); a request about a trace replaces the waiting one
about the same trace (``describe_superseded``). What comes out depends on the machine and its load:
that is the purpose.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.slow_path import DescribeRequest, describe
from tracevlm_ros.core.types import Description, Frame, GazeSample, Word
from tracevlm_ros.evaluation.outcome import FrameOutcome, SpokenCaption
from tracevlm_ros.evaluation.recording import Sample
from tracevlm_ros.evaluation.replay import add_sample

FRAME_DEPTH = 2
_NS_PER_S = 1e9


def sample_ns(sample: Frame | GazeSample | Word) -> int:
    """When a sample can be known: its stamp, for a word its end."""
    return sample.end_ns if isinstance(sample, Word) else sample.stamp_ns


@dataclass(slots=True)
class _Answer:
    """A finished description: ``spoken`` parts, the last one handed back to the pipeline."""

    request: DescribeRequest
    spoken: list[SpokenCaption]
    last: Description | None
    took_ms: float


@dataclass(slots=True)
class _Shared:
    """What the threads exchange, under one condition."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[Sample] = field(default_factory=deque)
    requests: dict[int, DescribeRequest] = field(default_factory=dict)
    answers: list[_Answer] = field(default_factory=list)
    frames_dropped: int = 0
    requests_replaced: int = 0
    source_done: bool = False
    describing: bool = False
    stop: bool = False
    error: BaseException | None = None


def replay_live(
    samples: Iterable[Sample], pipeline: Pipeline, engine: Engine, speed: float = 1.0
) -> Generator[FrameOutcome, None, None]:
    """Run ``samples`` at ``speed`` times their own pace; one outcome for each frame that is taken.

    Captions come with the newest frame when they are ready, their ``published_ns`` in the time of
    the recording. Whatever the source or the slow path raises is raised here.
    """
    shared = _Shared()
    clock = _RecordingClock(speed)
    threads = [
        threading.Thread(target=_guarded, args=(shared, lambda: _feed(shared, samples, clock))),
        threading.Thread(target=_guarded, args=(shared, lambda: _speak(shared, engine, clock))),
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _see(shared, pipeline)
    finally:
        with shared.changed:
            shared.stop = True
            shared.changed.notify_all()
        for thread in threads:
            thread.join()
        pipeline.drops["frame_not_processed"] += shared.frames_dropped
        pipeline.drops["describe_superseded"] += shared.requests_replaced
    if shared.error is not None:
        raise shared.error


class _RecordingClock:
    """Wall time on the recording's clock, from the first sample on."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first_ns: int | None = None
        self._started_s = 0.0

    def wait_s(self, stamp_ns: int) -> float:
        """Seconds until ``stamp_ns``; the first call starts the clock."""
        if self._first_ns is None:
            self._first_ns, self._started_s = stamp_ns, time.perf_counter()
        return (stamp_ns - self.now_ns()) / _NS_PER_S / self._speed

    def now_ns(self) -> int:
        passed_s = time.perf_counter() - self._started_s
        return (self._first_ns or 0) + round(passed_s * self._speed * _NS_PER_S)


def _guarded(shared: _Shared, work: Callable[[], None]) -> None:
    """An error of a thread ends the run and is kept for the caller."""
    try:
        work()
    except BaseException as error:
        with shared.changed:
            shared.error = error
            shared.stop = True
            shared.changed.notify_all()


def _feed(shared: _Shared, samples: Iterable[Sample], clock: _RecordingClock) -> None:
    for sample in samples:
        delay_s = 0.0 if isinstance(sample, Lens) else clock.wait_s(sample_ns(sample))
        with shared.changed:
            if delay_s > 0:
                shared.changed.wait_for(lambda: shared.stop, timeout=delay_s)
            if shared.stop:
                return
            shared.waiting.append(sample)
            _shed(shared)
            shared.changed.notify_all()
    with shared.changed:
        shared.source_done = True
        shared.changed.notify_all()


def _shed(shared: _Shared) -> None:
    """Drop the oldest waiting frame while too many wait; gaze and words always stay."""
    frames = [sample for sample in shared.waiting if isinstance(sample, Frame)]
    for oldest in frames[: max(0, len(frames) - FRAME_DEPTH)]:
        index = next(i for i, sample in enumerate(shared.waiting) if sample is oldest)
        del shared.waiting[index]
        shared.frames_dropped += 1


def _see(shared: _Shared, pipeline: Pipeline) -> Iterator[FrameOutcome]:
    """The fast path, in the caller's thread. An outcome is held until the next frame has come, and
    takes the words that became ready meanwhile."""
    held: FrameOutcome | None = None
    flushed = False
    while True:
        with shared.changed:
            shared.changed.wait_for(lambda: shared.stop or _work(shared) or _is_over(shared))
            if shared.stop:
                return
            over, flush = _is_over(shared) and not _work(shared), shared.source_done
            if over and flushed:
                break
            flushed = flush
            samples, answers = list(shared.waiting), list(shared.answers)
            shared.waiting.clear()
            shared.answers.clear()
        for answer in answers:
            if answer.last is not None:
                pipeline.deliver(answer.request, answer.last)
            held = None if held is None else _with_words(held, answer)
        _take(pipeline, samples, flush=flush)
        for outcome in _steps(shared, pipeline):
            if held is not None:
                yield held
            held = outcome
    if held is not None:
        yield held


def _with_words(outcome: FrameOutcome, answer: _Answer) -> FrameOutcome:
    took_ms = (outcome.describe_ms or 0.0) + answer.took_ms
    captions = (*outcome.captions, *answer.spoken)
    return outcome._replace(captions=captions, describe_ms=took_ms)


def _work(shared: _Shared) -> bool:
    return bool(shared.waiting or shared.answers)


def _is_over(shared: _Shared) -> bool:
    """Nothing more will come, once what waits has been taken."""
    return shared.source_done and not (shared.requests or shared.describing)


def _take(pipeline: Pipeline, samples: list[Sample], *, flush: bool) -> None:
    for sample in samples:
        add_sample(pipeline, sample)
    if flush:
        pipeline.flush()


def _steps(shared: _Shared, pipeline: Pipeline) -> Iterator[FrameOutcome]:
    while True:
        before = time.perf_counter()
        result = pipeline.step()
        if result is None:
            return
        step_ms = (time.perf_counter() - before) * 1e3
        _ask(shared, pipeline.requests())
        yield FrameOutcome(result.frame, result.masks, result.traces, (), step_ms)


def _ask(shared: _Shared, requests: Iterable[DescribeRequest]) -> None:
    with shared.changed:
        for request in requests:
            shared.requests_replaced += request.trace_id in shared.requests
            shared.requests[request.trace_id] = request
        shared.changed.notify_all()


def _speak(shared: _Shared, engine: Engine, clock: _RecordingClock) -> None:
    while True:
        with shared.changed:
            shared.changed.wait_for(lambda: shared.stop or shared.requests)
            if shared.stop:
                return
            request = shared.requests.pop(next(iter(shared.requests)))
            shared.describing = True
        before, spoken, last = time.perf_counter(), [], None
        for caption, description in describe(engine, request, lambda: shared.stop):
            spoken.append(SpokenCaption(caption, published_ns=clock.now_ns()))
            last = description
        answer = _Answer(request, spoken, last, (time.perf_counter() - before) * 1e3)
        with shared.changed:
            shared.answers.append(answer)
            shared.describing = False
            shared.changed.notify_all()
