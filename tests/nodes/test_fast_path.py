"""The fast path's thread with a real pipeline and an engine that waits when told to."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from engine.runtime.fake import FakeEngine
from tests.graph.tiny_bag import FRAME_NS, GAZE_NS, START_NS, picture
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.errors import BackendError, InputError
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest
from tracevlm_ros.core.types import (
    Caption,
    Description,
    Frame,
    GazeSample,
    Keypoints,
    TraceSnapshot,
    Word,
)
from tracevlm_ros.nodes.arrival import Arrival, Question
from tracevlm_ros.nodes.convert import Gaze
from tracevlm_ros.nodes.describer import Describer, Job, moved_on
from tracevlm_ros.nodes.fast_intake import FastLimits
from tracevlm_ros.nodes.fast_path import FastPath
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch


def until(condition: Callable[[], Any], what: str) -> None:
    limit_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < limit_s, f"{what} did not come"
        time.sleep(0.005)


class Sink:
    """Keeps what both paths give."""

    def __init__(self) -> None:
        self.steps: list[StepResult] = []
        self.jobs: list[Job] = []
        self.captions: list[Caption] = []
        self.done: list[Description] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def step_done(self, step: StepResult, arrival: Arrival) -> None:
        self.steps.append(step)
        self.entered.set()
        assert self.gate.wait(20.0)

    def describe_wanted(self, request: DescribeRequest, arrival: Arrival, question: Any) -> None:
        self.jobs.append(Job(request, arrival, question))

    def caption_written(self, caption: Caption, job: Job) -> None:
        self.captions.append(caption)

    def description_done(self, request: DescribeRequest, description: Description) -> None:
        self.done.append(description)

    def stamps(self) -> list[int]:
        return [step.frame.stamp_ns for step in self.steps]


class Bench:
    """A running fast path and its log."""

    def __init__(
        self, engine: FakeEngine, frames: int = 2, wait_s: float = 20.0, gaze: int = 1000
    ) -> None:
        self.sink = Sink()
        self.lines: list[str] = []
        self.path = FastPath(
            Pipeline(PipelineConfig(), engine),
            self.sink,
            decode,
            FastLimits(frames, gaze),
            lambda: wait_s,
            Stopwatch(),
            Problems(self.lines.append),
        )
        self.path.start()

    def image(self, index: int) -> int:
        stamp_ns = START_NS + index * FRAME_NS
        self.path.offer_image((stamp_ns, index), now())
        return stamp_ns

    def gaze_until(self, stamp_ns: int, *, is_normalised: bool = False) -> None:
        x, y = (0.5, 0.5) if is_normalised else (80.0, 60.0)
        for at_ns in range(stamp_ns - FRAME_NS, stamp_ns + 3 * GAZE_NS, GAZE_NS):
            self.path.offer_gaze(Gaze(GazeSample(at_ns, x, y), is_normalised))


def now() -> Arrival:
    return Arrival(time.time_ns(), time.monotonic())


def decode(message: tuple[int, int]) -> Frame:
    stamp_ns, index = message
    if index < 0:
        raise InputError("image encoding 'none' is not supported")
    return Frame(stamp_ns, picture(index))


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.sink.gate.set()
        bench.path.stop()


def test_when_the_engine_falls_behind_the_newest_frames_are_kept_and_drops_counted(
    benches: list[Bench],
) -> None:
    bench = Bench(FakeEngine(), frames=2, wait_s=0.0)
    benches.append(bench)
    bench.sink.gate.clear()
    first = bench.image(1)
    assert bench.sink.entered.wait(20.0)
    stamps = [bench.image(index) for index in range(2, 8)]
    assert bench.path.drops()["image_queue_full"] == 4
    bench.sink.gate.set()
    until(lambda: len(bench.sink.steps) == 3, "three frames")
    assert bench.sink.stamps() == [first, *stamps[-2:]]


def test_a_frame_waits_for_its_gaze_and_not_a_moment_longer(benches: list[Bench]) -> None:
    bench = Bench(FakeEngine())
    benches.append(bench)
    stamp_ns = bench.image(1)
    until(lambda: bench.path.pending() == 1, "the waiting frame")
    assert bench.sink.steps == []
    bench.gaze_until(stamp_ns)
    until(lambda: bench.sink.stamps() == [stamp_ns], "the frame")
    assert "frame_gaze_timeout" not in bench.path.drops()
    until(lambda: bench.path.pending() == 0, "an idle path")


def test_a_result_goes_out_before_the_pipeline_prepares_for_the_next_frame(
    benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    results_when_settling: list[int] = []

    def settle(_pipeline: Pipeline) -> None:
        results_when_settling.append(len(bench.sink.steps) if benches else -1)

    monkeypatch.setattr(Pipeline, "settle", settle)
    bench = Bench(FakeEngine())
    benches.append(bench)
    bench.gaze_until(bench.image(1))
    until(lambda: results_when_settling == [0, 1], "settling before and after the frame")


def test_normalised_gaze_before_the_first_image_is_kept_and_scaled(benches: list[Bench]) -> None:
    bench = Bench(FakeEngine())
    benches.append(bench)
    for index in range(1, 6):
        stamp_ns = START_NS + index * FRAME_NS
        bench.gaze_until(stamp_ns, is_normalised=True)
        bench.image(index)
        until(lambda index=index: len(bench.sink.steps) == index, "a frame")
    trace = bench.sink.steps[-1].traces[0]
    np.testing.assert_allclose(trace.keypoints.xy_px[0], (79.5, 59.5), atol=3.0)


def test_normalised_gaze_that_waits_too_long_for_an_image_goes_oldest_first_and_is_counted(
    benches: list[Bench],
) -> None:
    bench = Bench(FakeEngine(), gaze=5)
    benches.append(bench)
    for index in range(8):
        sample = GazeSample(START_NS + index * GAZE_NS, 0.5, 0.5)
        bench.path.offer_gaze(Gaze(sample, is_normalised=True))
        until(lambda: not len(bench.path._gaze), "the empty queue")
    until(lambda: bench.path.drops()["gaze_before_first_image"] == 3, "the count")
    bench.path.stop()
    bench.path.clear()
    assert bench.path.drops()["gaze_deactivated"] == 5


def test_what_waits_when_the_node_is_deactivated_is_dropped_and_counted(
    benches: list[Bench],
) -> None:
    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    until(lambda: len(bench.sink.steps) == 7, "all frames")
    job, path = bench.sink.jobs[0], bench.path
    path.stop()
    path.offer_gaze(Gaze(GazeSample(START_NS, 1.0, 1.0), is_normalised=False))
    path.offer_word(Word("cup", START_NS, START_NS + 1))
    path.offer_question(Question("what is it?", now()))
    for _ in range(2):
        path.deliver(job.request, Description("a cup", True, 0.5))
    bench.image(20)
    path.clear()
    drops = path.drops()
    expected = {"gaze": 1, "word": 1, "question": 1, "description": 2, "image": 1}
    assert {name: drops[f"{name}_deactivated"] for name in expected} == expected
    assert path.pending() == 0


def test_queues_that_are_full_keep_the_newest_and_count_the_rest(benches: list[Bench]) -> None:
    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    job, path = bench.sink.jobs[0], bench.path
    path.stop()
    for index in range(1027):
        path.offer_word(Word("cup", index, index + 1))
        path.deliver(job.request, Description("a cup", True, 0.5))
    for mapping in (None, None, None):
        path.offer_gaze_mapping(mapping)
    for focal_px in (500.0, 600.0):
        path.offer_lens(Lens(focal_px))
    drops = path.drops()
    assert (drops["word_queue_full"], drops["description_queue_full"]) == (3, 3)
    assert drops["gaze_calibration_superseded"] == 2
    assert drops["camera_info_superseded"] == 1


def test_an_image_that_cannot_be_decoded_is_counted_and_said_once(benches: list[Bench]) -> None:
    bench = Bench(FakeEngine(), frames=9, wait_s=0.0)
    benches.append(bench)
    bench.image(-1)
    bench.image(-2)
    stamp_ns = bench.image(3)
    until(lambda: bench.sink.stamps() == [stamp_ns], "the good frame")
    assert bench.path.drops()["image_undecodable"] == 2
    assert bench.lines == ["image encoding 'none' is not supported"]


def test_an_engine_that_fails_on_a_frame_is_counted_and_the_next_frame_comes(
    benches: list[Bench],
) -> None:
    engine = FakeEngine()
    whole = engine.encode
    failures = [BackendError("out of memory")]

    def encode(image_rgb: Any) -> Any:
        if failures:
            raise failures.pop()
        return whole(image_rgb)

    engine.encode = encode  # type: ignore[method-assign]
    bench = Bench(engine, frames=100)
    benches.append(bench)
    for index in range(1, 8):
        bench.gaze_until(START_NS + index * FRAME_NS)
        bench.image(index)
    until(lambda: bench.path.drops()["fast_path_failed"] == 1, "the failure")
    until(lambda: len(bench.sink.steps) == 6, "the other frames")
    assert bench.lines == ["out of memory"]


def first_request(bench: Bench) -> None:
    """Look at one thing until it is to be described."""
    for index in range(1, 8):
        bench.gaze_until(START_NS + index * FRAME_NS)
        bench.image(index)
    until(lambda: bench.sink.jobs, "a request")


def test_the_slow_path_describes_the_newest_state_of_each_trace(benches: list[Bench]) -> None:
    held = threading.Event()
    speaking = threading.Event()

    def between_words() -> None:
        speaking.set()
        assert held.wait(20.0)

    engine = FakeEngine(between_words=between_words)
    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    job = bench.sink.jobs[0]
    sink = Sink()
    describer = Describer(engine, sink, 2, Stopwatch(), Problems(print))
    describer.start()
    describer.offer(job)
    assert speaking.wait(20.0)
    others = [job._replace(request=job.request._replace(stamp_ns=n)) for n in (11, 12, 13)]
    for other in others:
        describer.offer(other)
    held.set()
    until(lambda: len(sink.done) == 2, "two descriptions")
    describer.stop()
    assert [c.stamp_ns for c in sink.captions if c.is_final] == [job.request.stamp_ns, 13]
    assert describer.inbox.drops_now() == {"request_superseded": 2}


def test_a_description_ends_when_the_slow_path_is_stopped(benches: list[Bench]) -> None:
    speaking = threading.Event()
    stopping = threading.Event()

    def between_words() -> None:
        speaking.set()
        assert stopping.wait(20.0)

    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    sink = Sink()
    engine = FakeEngine(between_words=between_words)
    describer = Describer(engine, sink, 2, Stopwatch(), Problems(print))
    describer.start()
    describer.offer(bench.sink.jobs[0])
    assert speaking.wait(20.0)
    stopper = threading.Thread(target=describer.stop)
    stopper.start()
    until(lambda: describer.is_stopping, "the request to stop")
    stopping.set()
    stopper.join(20.0)
    assert sink.done == []
    assert not any(c.is_final for c in sink.captions)
    assert describer.inbox.drops_now() == {"description_cancelled": 1}


def test_a_late_description_is_cut_off_when_attention_has_moved_on(benches: list[Bench]) -> None:
    """The trace closes while its open state is being described: only the closed state is told."""
    held, speaking = threading.Event(), threading.Event()

    def between_words() -> None:
        speaking.set()
        assert held.wait(20.0)

    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    open_job = bench.sink.jobs[0]
    sink = Sink()
    engine = FakeEngine(between_words=between_words)
    describer = Describer(engine, sink, 2, Stopwatch(), Problems(print), stale_after_ns=200)
    describer.start()
    describer.offer(open_job)
    assert speaking.wait(20.0)
    closed_job = later(open_job, 200, is_open=False)
    describer.offer(closed_job)
    held.set()
    until(lambda: sink.done, "the description of the closed trace")
    describer.stop()
    finals = [c.stamp_ns for c in sink.captions if c.is_final]
    assert finals == [closed_job.request.stamp_ns]
    assert describer.inbox.drops_now() == {"description_moved_on": 1}


def test_traces_that_wait_are_described_together_and_one_is_cut_off_alone(
    benches: list[Bench],
) -> None:
    held, speaking = threading.Event(), threading.Event()

    def between_words() -> None:
        speaking.set()
        assert held.wait(20.0)

    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    first = later(bench.sink.jobs[0], 0, trace_id=1)
    second = later(first, 0, trace_id=2, is_open=False)
    sink = Sink()
    engine = FakeEngine(between_words=between_words, max_answers=2)
    describer = Describer(engine, sink, 4, Stopwatch(), Problems(print), stale_after_ns=200)
    describer.offer(first)
    describer.offer(second)
    describer.start()
    assert speaking.wait(20.0)
    assert describer.pending() == 2
    describer.offer(later(first, 200, trace_id=3))
    held.set()
    until(lambda: len(sink.done) == 2, "the descriptions of the second and third trace")
    describer.stop()
    said = [(c.trace_id, c.is_final) for c in sink.captions]
    assert said[:3] == [(1, False), (2, False), (2, False)]
    assert [trace_id for trace_id, is_final in said if is_final] == [2, 3]
    assert describer.inbox.drops_now() == {"description_moved_on": 1}


def test_all_that_fail_together_are_counted(benches: list[Bench]) -> None:
    def fail() -> None:
        raise BackendError("out of memory", is_out_of_memory=True)

    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    job = bench.sink.jobs[0]
    engine = FakeEngine(between_words=fail, max_answers=3)
    describer = Describer(engine, Sink(), 4, Stopwatch(), Problems(print))
    for trace_id in (1, 2, 3):
        describer.offer(later(job, 0, trace_id=trace_id))
    describer.start()
    until(lambda: describer.inbox.drops_now()["slow_path_failed"] == 3, "three failures")
    describer.stop()


def test_a_question_whose_answer_fails_is_refused_with_the_reason(benches: list[Bench]) -> None:
    def fail() -> None:
        raise BackendError("out of memory", is_out_of_memory=True)

    bench = Bench(FakeEngine(), frames=100)
    benches.append(bench)
    first_request(bench)
    job, sink, refused = bench.sink.jobs[0], Sink(), list[str]()
    describer = Describer(FakeEngine(between_words=fail), sink, 2, Stopwatch(), Problems(print))
    describer.start()
    question = Question("what is it?", job.arrival, refused=refused.append)
    describer.offer(job._replace(question=question))
    until(describer.inbox.drops_now, "the failure")
    describer.stop()
    assert refused == ["out of memory"]
    assert describer.inbox.drops_now() == {"slow_path_failed": 1}


def later(job: Job, by_ns: int, **changes: Any) -> Job:
    """The same request about a frame ``by_ns`` later, its trace changed."""
    request = job.request
    snapshot = request.snapshot._replace(**changes)
    return job._replace(
        request=request._replace(stamp_ns=request.stamp_ns + by_ns, snapshot=snapshot)
    )


@pytest.mark.parametrize(
    ("was_open", "by_ns", "changes", "expected"),
    [
        (True, 200, {"is_open": False}, True),
        (True, 200, {"trace_id": 8}, True),
        (True, 199, {"is_open": False}, False),  # its embeddings are still in time
        (True, 900, {}, False),  # it only grew: cutting off would starve it
        (True, 900, {"trace_id": 6}, False),  # an earlier trace was refreshed
        (False, 900, {"trace_id": 8}, False),  # the last description of a trace is finished
    ],
)
def test_attention_has_moved_on(
    was_open: bool, by_ns: int, changes: dict[str, Any], expected: bool
) -> None:
    nowhere = np.zeros((1, 2))
    keypoints = Keypoints(nowhere, np.zeros(1, np.int64), np.ones(1), *[np.zeros(1, bool)] * 2)
    snapshot = TraceSnapshot(7, 0, 1, was_open, 5, keypoints)
    request = DescribeRequest(snapshot, 1_000, "camera", (48, 64), None, 0)
    current = Job(request, Arrival(0, 0.0), None)
    assert moved_on(current, later(current, by_ns, **changes), 200) is expected
    asked = current._replace(question=Question("what?", current.arrival))
    assert not moved_on(asked, later(current, by_ns, **changes), 200)
