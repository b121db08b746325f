"""The thread of the slow path: one description at a time, streamed as it is written."""

import threading
import time
from typing import NamedTuple, Protocol

from engine.runtime.priority import give_way
from tracevlm_ros.core.dialogues import Dialogues
from tracevlm_ros.core.engine import Engine, locator_of
from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.core.slow_path import DescribeRequest, LocateRequest, describe
from tracevlm_ros.core.types import Caption, Description
from tracevlm_ros.nodes.fast_path import Arrival, Question, Search
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


class SlowSink(Protocol):
    """Where descriptions go; called in the describer's thread."""

    def caption_written(self, caption: Caption, job: Job) -> None: ...

    def description_done(self, request: DescribeRequest, description: Description) -> None: ...


class Describer(Worker):
    """Runs ``describe`` on the newest state of each trace; questions go in line with the rest.

    A description that can only come too late (``stale_after_ns`` of the data's time have passed) is
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
        self._current: Job | SearchJob | None = None
        self._moved_on = threading.Event()

    def offer(self, job: Job | SearchJob) -> None:
        """Never blocks. What was asked never replaces, and is never replaced by, a description."""
        self._asked += 1
        if isinstance(job, SearchJob) or job.question is not None:
            self._jobs.put(("asked", self._asked), job)
            return
        self._jobs.put(job.request.trace_id, job)
        current = self._current
        if isinstance(current, Job) and moved_on(current, job, self.stale_after_ns):
            self._moved_on.set()

    def pending(self) -> int:
        """Requests that wait, and the one that is being answered."""
        return len(self._jobs) + (self._current is not None)

    def clear(self) -> None:
        """Drop what waits, and forget what was asked; only while the thread does not run."""
        self._dialogues.clear()
        self._jobs.clear("request_deactivated")

    def work(self) -> None:
        """Describe one trace, or wait for a request."""
        job = self._jobs.take()
        if job is None:
            self.inbox.wait_for(lambda: self.is_stopping or len(self._jobs) > 0, None)
            return
        self._moved_on.clear()
        self._current = job
        try:
            if isinstance(job, SearchJob):
                self._find(job)
            else:
                self._answer(job)
        finally:
            self._current = None

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

    def _answer(self, job: Job) -> None:
        start_s = time.monotonic()
        self._stopwatch.add("describe_queue", job.arrival.received_s, start_s)
        try:
            caption, last = self._describe(job, start_s)
        except TraceVLMError as error:
            if job.question is not None and job.question.refused is not None:
                job.question.refused(str(error))
            raise
        if caption is None or last is None or not last.is_final:
            has_moved_on = self._moved_on.is_set() and not self.is_stopping
            self.inbox.count_drop(
                "description_moved_on" if has_moved_on else "description_cancelled"
            )
            if job.question is not None and job.question.refused is not None:
                job.question.refused("the answer was cancelled: the node is being deactivated")
            return
        self._stopwatch.add("describe_whole", start_s)
        self._sink.description_done(job.request, last)
        if job.question is not None and job.question.answered is not None:
            job.question.answered(caption)

    def _describe(self, job: Job, start_s: float) -> tuple[Caption | None, Description | None]:
        caption: Caption | None = None
        part: Description | None = None
        parts = (
            describe(self._engine, job.request, self._is_cut_off)
            if job.question is None
            else self._dialogues.ask(job.request, self._is_cut_off)
        )
        for written in parts:
            caption, part = written
            if start_s:
                self._stopwatch.add("describe_first_word", start_s)
                start_s = 0.0
            self._sink.caption_written(caption, job)
        return caption, part

    def _is_cut_off(self) -> bool:
        return self.is_stopping or self._moved_on.is_set()


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
