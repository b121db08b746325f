"""The thread of the slow path: descriptions streamed as they are written, several at a time where
the engine can say them together."""

import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from engine.runtime.priority import give_way
from tracevlm_ros.core.dialogues import Dialogues
from tracevlm_ros.core.engine import Engine, locator_of
from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.core.slow_path import (
    CaptionPart,
    DescribeRequest,
    LocateRequest,
    describe_together,
)
from tracevlm_ros.core.types import Caption, Description
from tracevlm_ros.nodes.arrival import Arrival, Question, Search
from tracevlm_ros.nodes.mailbox import Inbox, KeyedMailbox, Replaced
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch
from tracevlm_ros.nodes.worker import Worker


class Job(NamedTuple):
    """A request, when its frame (or its question) reached the node, and who waits for it."""

    request: DescribeRequest
    arrival: Arrival
    question: Question | None


class SearchJob(NamedTuple):
    """A search, and who waits for it."""

    request: LocateRequest
    search: Search


class UnderWay(NamedTuple):
    """What the thread works on; ``moved_on``: places of jobs from which attention has moved on."""

    jobs: list[Job | SearchJob]
    moved_on: set[int]


class SlowSink(Protocol):
    """Where descriptions go; called in the describer's thread."""

    def caption_written(self, caption: Caption, job: Job) -> None: ...

    def description_done(self, request: DescribeRequest, description: Description) -> None: ...


class Describer(Worker):
    """Describes the newest state of each trace; questions go in line with the rest, each alone.

    What waits is described together, as many at a time as ``engine.info.max_answers``. A
    description that can only come too late (``stale_after_ns`` of the data's time have passed) is
    cut off between two tokens when attention has moved on, see ``moved_on``. Counts in
    ``inbox.drops``: ``request_superseded``, ``request_queue_full``, ``description_moved_on``,
    ``description_cancelled`` (by deactivation).
    """

    def __init__(
        self,
        engine: Engine,
        sink: SlowSink,
        depth: int,
        stopwatch: Stopwatch,
        problems: Problems,
        stale_after_ns: int = 0,
    ) -> None:
        inbox = Inbox()
        super().__init__("slow_path", inbox, problems, prepare=give_way)
        self._engine = engine
        self._dialogues = Dialogues(engine)
        self._sink = sink
        self._stopwatch = stopwatch
        self._jobs: KeyedMailbox[Job | SearchJob] = KeyedMailbox(
            inbox, depth, Replaced("request_superseded", "request_queue_full")
        )
        self.stale_after_ns = stale_after_ns
        self._asked = 0
        self._under_way = UnderWay([], set())

    def offer(self, job: Job | SearchJob) -> None:
        """Never blocks. What was asked never replaces, and is never replaced by, a description."""
        self._asked += 1
        if isinstance(job, SearchJob) or job.question is not None:
            self._jobs.put(("asked", self._asked), job)
            return
        self._jobs.put(job.request.trace_id, job)
        under_way = self._under_way
        for place, current in enumerate(under_way.jobs):
            if isinstance(current, Job) and moved_on(current, job, self.stale_after_ns):
                under_way.moved_on.add(place)

    def pending(self) -> int:
        """Requests that wait, and those that are being answered."""
        return len(self._jobs) + len(self._under_way.jobs)

    def clear(self) -> None:
        """Drop what waits, and forget what was asked; only while the thread does not run."""
        self._dialogues.clear()
        self._jobs.clear("request_deactivated")

    def work(self) -> None:
        """Describe what waits, answer one question, or wait for a request."""
        taken = self._jobs.take_run(self._engine.info.max_answers, is_description)
        if not taken:
            self.inbox.wait_for(lambda: self.is_stopping or len(self._jobs) > 0, None)
            return
        self._under_way = UnderWay(taken, set())
        try:
            for job in taken:
                if isinstance(job, SearchJob):
                    self._find(job)
            self._answer([job for job in taken if isinstance(job, Job)])
        finally:
            self._under_way = UnderWay([], set())

    def _find(self, job: SearchJob) -> None:
        start_s = time.monotonic()
        search, request = job.search, job.request
        locator = locator_of(self._engine)
        assert locator is not None, "searches are offered to engines that can"
        try:
            location = locator.locate(request.features, request.text, lambda: self.is_stopping)
        except TraceVLMError as error:
            search.refused(str(error))
            raise
        if location is None:
            search.refused(f"nothing in the newest frame fits '{request.text}'")
            return
        self._stopwatch.add("locate", start_s)
        search.found(request.frame, location)

    def _answer(self, jobs: list[Job]) -> None:
        start_s = time.monotonic()
        for job in jobs:
            self._stopwatch.add("describe_queue", job.arrival.received_s, start_s)
        told: set[int] = set()
        spoken: set[int] = set()
        try:
            for place, caption, description in self._parts(jobs):
                if place not in spoken:
                    spoken.add(place)
                    self._stopwatch.add("describe_first_word", start_s)
                self._sink.caption_written(caption, jobs[place])
                if description.is_final:
                    told.add(place)
                    self._stopwatch.add("describe_whole", start_s)
                    self._sink.description_done(jobs[place].request, description)
                    _answered(jobs[place].question, caption)
        except TraceVLMError as error:
            untold = [job for place, job in enumerate(jobs) if place not in told]
            self.inbox.count_drop("slow_path_failed", max(len(untold) - 1, 0))  # one by the worker
            for job in untold:
                _refused(job.question, str(error))
            raise
        for place in set(range(len(jobs))) - told:
            has_moved_on = place in self._under_way.moved_on and not self.is_stopping
            self.inbox.count_drop(
                "description_moved_on" if has_moved_on else "description_cancelled"
            )
            _refused(
                jobs[place].question, "the answer was cancelled: the node is being deactivated"
            )

    def _parts(self, jobs: list[Job]) -> Iterator[CaptionPart]:
        if len(jobs) == 1 and jobs[0].question is not None:
            answer = self._dialogues.ask(jobs[0].request, lambda: self._is_cut_off(0))
            return (CaptionPart(0, *part) for part in answer)
        requests = [job.request for job in jobs]
        return describe_together(self._engine, requests, self._is_cut_off)

    def _is_cut_off(self, place: int) -> bool:
        return self.is_stopping or place in self._under_way.moved_on


def _answered(question: Question | None, caption: Caption) -> None:
    if question is not None and question.answered is not None:
        question.answered(caption)


def _refused(question: Question | None, why: str) -> None:
    if question is not None and question.refused is not None:
        question.refused(why)


def is_description(job: Job | SearchJob) -> bool:
    """Whether ``job`` can be answered beside others: no question, no search."""
    return isinstance(job, Job) and job.question is None


def moved_on(current: Job, newer: Job, stale_after_ns: int) -> bool:
    """True when ``newer`` makes what is being said about ``current`` worthless.

    That is when the trace was open and has closed since, or a later trace is looked at, and the
    frame of ``newer`` is so late that the embeddings of ``current`` would not be used in time. The
    last description of a trace and answers to questions are always finished, and a trace that goes
    on growing does not cut off its own descriptions, so none starves.
    """
    if current.question is not None or newer.question is not None:
        return False
    before, after = current.request.snapshot, newer.request.snapshot
    has_closed = after.trace_id == before.trace_id and not after.is_open
    is_late = newer.request.stamp_ns - current.request.stamp_ns >= stale_after_ns
    return before.is_open and (has_closed or after.trace_id > before.trace_id) and is_late
