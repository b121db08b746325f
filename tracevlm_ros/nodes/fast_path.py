"""The thread that owns the pipeline: gaze, words and frames in, one result per frame out."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from tracevlm_ros.core.attention.ledger import NewestAttention
from tracevlm_ros.core.drift_correction import KnownPlace
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.slow_path import DescribeRequest, LocateRequest
from tracevlm_ros.core.types import Frame
from tracevlm_ros.nodes.arrival import Arrival, Question, Search
from tracevlm_ros.nodes.convert import Gaze
from tracevlm_ros.nodes.fast_intake import FastLimits, Intake
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch

_NEWEST_TRACES = 8


class FastSink(Protocol):
    """Where the fast path leaves its results; called in its thread."""

    def step_done(self, step: StepResult, arrival: Arrival) -> None: ...

    def describe_wanted(
        self, request: DescribeRequest, arrival: Arrival, question: Question | None
    ) -> None: ...

    def locate_wanted(self, request: LocateRequest, search: Search) -> None: ...


class FastPath(Intake):
    """Owns ``pipeline``: nothing else may touch it between ``start`` and ``stop``.

    Besides what ``Intake`` counts, ``inbox.drops`` holds ``image_undecodable`` and
    ``frame_gaze_timeout`` (frames that were processed without waiting longer for gaze).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sink: FastSink,
        decode: Callable[[Any], Frame],
        limits: FastLimits,
        max_gaze_wait_s: Callable[[], float],
        stopwatch: Stopwatch,
        problems: Problems,
    ) -> None:
        super().__init__(limits, problems)
        self._pipeline = pipeline
        self._sink = sink
        self._decode = decode
        self._max_gaze_wait_s = max_gaze_wait_s
        self._stopwatch = stopwatch
        self._waiting: OrderedDict[int, Arrival] = OrderedDict()
        self._size_hw: tuple[int, int] | None = None
        self._pipeline_drops = Drops()
        self._drift_px = pipeline.drift.offset_px
        self._attention = NewestAttention({}, ())

    # --- while the thread does not run, and for those who look on ----------------------------

    def clear(self) -> None:
        """Drop what waits; only while the thread does not run."""
        self.forget_waiting()
        self._waiting.clear()
        self._size_hw = None
        self._pipeline.reset()
        self._pipeline_drops = Drops(self._pipeline.drops)
        self._drift_px = self._pipeline.drift.offset_px
        self._attention = self._pipeline.attention.newest(_NEWEST_TRACES)

    @property
    def drift_px(self) -> tuple[float, float]:
        """What the drift correction adds to gaze by now, x and y."""
        return self._drift_px

    def attention(self) -> NewestAttention:
        """How long the newest traces were looked at, and in which order; also while it works."""
        return self._attention

    def drops(self) -> Drops:
        """Drops of the queues and of the pipeline so far."""
        counts = self.inbox.drops_now()
        counts.update(self._pipeline_drops)
        return counts

    def pending(self) -> int:
        """Frames, questions and descriptions that are still on their way through."""
        return self.queued() + len(self._waiting)

    # --- the thread --------------------------------------------------------------------------

    def work(self) -> None:
        """Small things first, then a ready frame, then one more frame, else wait."""
        self._take_small()
        self._pipeline_drops = Drops(self._pipeline.drops)
        self._drift_px = self._pipeline.drift.offset_px
        self._attention = self._pipeline.attention.newest(_NEWEST_TRACES)
        if self._step() or self._take_frame():
            return
        if self._waiting and self._patience_s() <= 0:
            self._stop_waiting()
            return
        timeout_s = self._patience_s() if self._waiting else None
        self.inbox.wait_for(self._has_work, timeout_s)

    def _patience_s(self) -> float:
        oldest = next(iter(self._waiting.values()))
        return oldest.received_s + self._max_gaze_wait_s() - time.monotonic()

    def _take_small(self) -> None:
        for request, description in self._deliveries.take_all():
            self._pipeline.deliver(request, description)
        for config in self._configs.take_all():
            self._pipeline.change(config)
        for lens in self._lenses.take_all():
            self._pipeline.lens = lens
        for mapping in self._gaze_mappings.take_all():
            self._pipeline.gaze_mapping = mapping
        for word in self._words.take_all():
            self._pipeline.add_word(word)
        for target in self._targets.take_all():
            self._add_target(target)
        for gaze in self._gaze.take_all():
            self._add_gaze(gaze)
        for question in self._questions.take_all():
            if isinstance(question, Search):
                self._search(question)
            else:
                self._ask(question)

    def _search(self, search: Search) -> None:
        request = self._pipeline.locate(search.text)
        if request is not None:
            self._sink.locate_wanted(request, search)
            return
        self.inbox.count_drop("search_without_frame")
        search.refused("no frame has been processed yet; see whether images come")

    def _add_gaze(self, gaze: Gaze) -> None:
        """Normalised gaze waits for the first frame, which tells the size of the image."""
        if gaze.is_normalised and self._size_hw is None:
            if len(self._unsized) == self._unsized.maxlen:
                self.inbox.count_drop("gaze_before_first_image")
            self._unsized.append(gaze)
            return
        self._pipeline.add_gaze(gaze.in_pixels(self._size_hw or (1, 1)))

    def _add_target(self, target: Gaze) -> None:
        if target.is_normalised and self._size_hw is None:
            self.inbox.count_drop("gaze_target_before_first_image")
            return
        place = target.in_pixels(self._size_hw or (1, 1))
        if not (math.isfinite(place.x_px) and math.isfinite(place.y_px)):
            self.inbox.count_drop("gaze_target_not_finite")
            return
        self._pipeline.add_known_place(KnownPlace(place.stamp_ns, place.x_px, place.y_px))

    def _ask(self, question: Question) -> None:
        request = self._pipeline.ask(question.text)
        if request is not None:
            self._sink.describe_wanted(request, question.arrival, question)
            return
        self.inbox.count_drop("question_without_trace")
        if question.refused is not None:
            question.refused("there is no trace to ask about; look or point at something first")

    def _take_frame(self) -> bool:
        taken = self._images.take()
        if taken is None:
            return False
        message, arrival = taken
        start_s = time.monotonic()
        try:
            frame = self._decode(message)
        except InputError as error:
            self.inbox.count_drop("image_undecodable")
            self.problems.say("image_undecodable", str(error))
            return True
        self._stopwatch.add("image_queue", arrival.received_s, start_s, frame.stamp_ns)
        self._stopwatch.add("image_decode", start_s, None, frame.stamp_ns)
        self._size_hw = frame.image_rgb.shape[:2]
        if (lens := self._pipeline.lens) and (problem := lens.problem(self._size_hw)):
            self.problems.say("camera_info_other_shape", problem)
        while self._unsized:
            self._pipeline.add_gaze(self._unsized.popleft().in_pixels(self._size_hw))
        self._waiting[frame.stamp_ns] = arrival
        self._pipeline.add_frame(frame)
        return True

    def _step(self) -> bool:
        start_s = time.monotonic()
        step = self._pipeline.step()
        if step is None:
            return False
        end_s = time.monotonic()
        arrival = self._arrival_of(step.frame.stamp_ns, start_s)
        self._stopwatch.add("gaze_wait", arrival.received_s, start_s, step.frame.stamp_ns)
        self._stopwatch.add("fast_path", start_s, end_s, step.frame.stamp_ns)
        self._sink.step_done(step, arrival)
        for request in self._pipeline.requests():
            self._sink.describe_wanted(request, arrival, None)
        settling_s = time.monotonic()
        self._pipeline.settle()
        self._stopwatch.add("settle", settling_s, None, step.frame.stamp_ns)
        return True

    def _arrival_of(self, stamp_ns: int, default_s: float) -> Arrival:
        """Frames leave the pipeline in order: what was added before this one is gone."""
        arrival = Arrival(stamp_ns, default_s)
        if stamp_ns in self._waiting:
            while self._waiting:
                first_ns, arrival = self._waiting.popitem(last=False)
                if first_ns == stamp_ns:
                    break
        return arrival

    def _stop_waiting(self) -> None:
        self._pipeline.flush()
        while self._step():
            self.inbox.count_drop("frame_gaze_timeout")
        self._waiting.clear()
