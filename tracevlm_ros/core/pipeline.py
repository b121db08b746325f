"""Gaze and frames in, masks, traces and requests for words out. No ROS, no clock, no thread.

The caller adds samples and frames as they come and calls ``step`` until it returns None. Each
step is one frame: its fast path is run at once; what the slow path should describe is returned as
requests, which the caller runs (``core.slow_path.describe``) when and where it likes and hands
back by ``deliver``. Live and offline callers share this class and get the same results.
"""

from typing import Any, NamedTuple

from tracevlm_ros.core.attention import (
    DwellMap,
    Trace,
    TraceClosed,
    TraceEvent,
    TraceGrown,
    TraceOpened,
    TraceSegmenter,
)
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.label_image import compose, label_of
from tracevlm_ros.core.live_trace import LiveTrace, PendingEmbeddings, prompt_of
from tracevlm_ros.core.slow_path import DescribeRequest
from tracevlm_ros.core.sync import FrameBundle, Synchronizer
from tracevlm_ros.core.tracking import FrameMotion, TraceTracker
from tracevlm_ros.core.types import (
    Description,
    Frame,
    GazeSample,
    Image,
    Masks,
    TraceSnapshot,
    Word,
)

_MS = 1_000_000


class StepResult(NamedTuple):
    """All that one frame gave. ``requests`` are for the slow path, oldest trace first."""

    frame: Frame
    masks: Masks
    traces: tuple[TraceSnapshot, ...]
    requests: tuple[DescribeRequest, ...]


class Pipeline:
    """One camera and one person. Not thread-safe; the engine may be shared."""

    def __init__(self, config: PipelineConfig, engine: Engine) -> None:
        self.config = config
        self.engine = engine
        self.drops = Drops()
        self._ready: list[FrameBundle] = []
        self._sync = Synchronizer(config.sync, self.drops)
        self._segmenter = TraceSegmenter(config.trace, self.drops)
        self._tracker = TraceTracker(config.tracking)
        self._dwell = DwellMap()
        self._live: dict[int, LiveTrace] = {}
        self._latest: tuple[Frame, Any, tuple[TraceSnapshot, ...]] | None = None
        self._stamp_ns = 0

    # --- input -----------------------------------------------------------------------------

    def add_gaze(self, sample: GazeSample) -> None:
        self._sync.push_gaze(sample)

    def add_word(self, word: Word) -> None:
        """Words weigh the trace that was drawn while they were spoken."""
        for live in self._live.values():
            live.trace.push_word(word)

    def add_frame(self, frame: Frame) -> None:
        self._sync.push_frame(frame)

    def flush(self) -> None:
        """Stop waiting: frames that lack gaze are processed with what there is."""
        self._ready += self._sync.flush()

    def reset(self) -> None:
        """Forget every trace and waiting frame (a new recording begins); trace ids count on."""
        self._ready.clear()
        self._sync.reset()
        self._restart()

    # --- one frame -------------------------------------------------------------------------

    def step(self) -> StepResult | None:
        """Process the oldest ready frame; None when none is ready."""
        self._ready += self._sync.pop_ready()
        if not self._ready:
            return None
        bundle = self._ready.pop(0)
        if bundle.was_reset:
            self._restart()
        frame = bundle.frame
        self._stamp_ns = frame.stamp_ns
        motion = self._tracker.advance(frame)
        self._move_attention(motion)
        self._consume_gaze(bundle)
        self._retire(frame.stamp_ns)
        shown = self._shown()
        snapshots = tuple(self._snapshot(live) for live in shown)
        masks, grounded = self._fast_path(frame, shown, snapshots)
        self._latest = (frame, grounded, snapshots)
        requests = self._requests(frame, shown, snapshots, grounded)
        return StepResult(frame, masks, snapshots, requests)

    def _consume_gaze(self, bundle: FrameBundle) -> None:
        previous_ns = self._stamp_ns
        for sample in bundle.gaze:
            for event in self._segmenter.push(sample):
                self._apply(event)
            previous_ns = sample.stamp_ns
        for event in self._segmenter.advance(max(previous_ns, bundle.frame.stamp_ns)):
            self._apply(event)

    def _apply(self, event: TraceEvent) -> None:
        if isinstance(event, TraceOpened):
            self._live[event.trace_id] = LiveTrace(
                Trace(event.trace_id, self.config.trace, self.drops)
            )
        elif isinstance(event, TraceGrown):
            live = self._live[event.trace_id]
            live.trace.append(event.sample, pen_up=event.pen_up, weight=event.weight)
            self._tracker.extend(event.trace_id, [[event.sample.x_px, event.sample.y_px]])
            self._dwell.add(event)
        elif isinstance(event, TraceClosed):
            live = self._live[event.trace_id]
            live.is_open = False
            live.closed_ns = event.stamp_ns
            live.trace.close()

    def _move_attention(self, motion: FrameMotion) -> None:
        if motion.ok:
            self._dwell.move(motion.homography)

    def _retire(self, stamp_ns: int) -> None:
        """Drop closed traces whose linger time is over, and the oldest beyond ``max_traces``."""
        linger_ns = int(self.config.live.linger_ms * _MS)
        over = [
            live.trace_id
            for live in self._live.values()
            if not live.is_open and stamp_ns - live.closed_ns > linger_ns
        ]
        rest = [trace_id for trace_id in self._live if trace_id not in over]
        over += rest[: max(0, len(rest) - self.config.live.max_traces)]
        for trace_id in over:
            del self._live[trace_id]
            self._tracker.forget(trace_id)

    def _shown(self) -> list[LiveTrace]:
        limit = self.engine.info.max_traces
        return [live for live in self._live.values() if len(live.trace)][-limit:]

    def _snapshot(self, live: LiveTrace) -> TraceSnapshot:
        indices = live.trace.keypoint_indices()
        self._tracker.set_keypoints(live.trace_id, indices)
        positions = self._tracker.positions(live.trace_id)
        return live.snapshot(indices, positions, self._tracker.status(live.trace_id))

    def _fast_path(
        self, frame: Frame, shown: list[LiveTrace], snapshots: tuple[TraceSnapshot, ...]
    ) -> tuple[Masks, Any]:
        """Encoder, TVP and pixel decoder for every shown trace of this frame."""
        if not shown:
            return compose(frame, [], []), None
        size_hw = frame.image_rgb.shape[:2]
        limit = self.engine.info.max_keypoints
        prompts = [prompt_of(s.keypoints, (size_hw[0], size_hw[1]), limit) for s in snapshots]
        grounded = self.engine.ground(self.engine.encode(frame.image_rgb), prompts)
        for live in shown:
            live.adopt_due(frame.stamp_ns)
        embeddings = [
            None if self._tracker.lost(live.trace_id) else live.seg_embeddings for live in shown
        ]
        logits = self.engine.segment(grounded, embeddings)
        masks = compose(frame, [live.trace_id for live in shown], logits)
        for trace_id in masks.trace_ids:
            self._tracker.reanchor(trace_id, masks.labels == label_of(trace_id))
        return masks, grounded

    # --- the slow path ---------------------------------------------------------------------

    def _requests(
        self,
        frame: Frame,
        shown: list[LiveTrace],
        snapshots: tuple[TraceSnapshot, ...],
        grounded: Any,
    ) -> tuple[DescribeRequest, ...]:
        requests = []
        for index, (live, snapshot) in enumerate(zip(shown, snapshots, strict=True)):
            if self._is_due(live, snapshot, frame.stamp_ns):
                live.described_ns = frame.stamp_ns
                live.described_count = snapshot.sample_count if snapshot.is_open else -1
                requests.append(self._request(frame, grounded, snapshot, index, None))
        return tuple(requests)

    def _is_due(self, live: LiveTrace, snapshot: TraceSnapshot, stamp_ns: int) -> bool:
        """Once when a trace is mature, again while it grows, and once more when it has closed."""
        settings = self.config.live
        is_short = snapshot.end_ns - snapshot.start_ns < settings.min_dwell_ms * _MS
        if live.described_count < 0:
            return False
        if not snapshot.is_open:
            if is_short:
                live.described_count = -1
                self.drops["trace_too_short"] += 1
            return not is_short
        if is_short:
            return False
        if live.described_count == 0:
            return True
        has_grown = snapshot.sample_count > live.described_count
        return has_grown and stamp_ns - live.described_ns >= settings.refresh_ms * _MS

    @staticmethod
    def _request(
        frame: Frame, grounded: Any, snapshot: TraceSnapshot, index: int, question: str | None
    ) -> DescribeRequest:
        height, width = frame.image_rgb.shape[:2]
        return DescribeRequest(
            snapshot, frame.stamp_ns, frame.frame_id, (height, width), grounded, index, question
        )

    def ask(self, question: str) -> DescribeRequest | None:
        """A question about the newest shown trace on the latest frame; None when there is none."""
        if self._latest is None or not self._latest[2]:
            return None
        frame, grounded, snapshots = self._latest
        index = len(snapshots) - 1
        return self._request(frame, grounded, snapshots[index], index, question)

    def deliver(self, request: DescribeRequest, description: Description) -> None:
        """Hand back the last part of a description; its embeddings take effect when due."""
        live = self._live.get(request.trace_id)
        if live is None:
            self.drops["description_of_gone_trace"] += 1
            return
        if request.question is not None:
            return
        if description.seg_embeddings is None:
            self.drops["description_without_mask"] += 1
            return
        due_ns = request.stamp_ns + int(self.config.live.embedding_delay_ms * _MS)
        if self._stamp_ns >= due_ns:
            self.drops["embedding_late"] += 1
        live.pending.append(
            PendingEmbeddings(request.stamp_ns, due_ns, description.seg_embeddings)
        )

    def attention_map(self, size_hw: tuple[int, int]) -> Image:
        """Dwell of the last seconds in the latest frame's pixels, uint8 (H, W)."""
        return self._dwell.render(size_hw)

    def _restart(self) -> None:
        self._segmenter.reset()
        self._tracker.reset()
        self._dwell.reset()
        self._live.clear()
        self._latest = None
