"""Gaze and frames in, masks, traces and requests for words out. No ROS, no clock, no thread.

The caller adds samples and frames as they come and calls ``step`` until it returns None. Each
step is one frame: its fast path is run at once. ``requests`` then tells what the slow path should
describe; the caller runs it (``core.slow_path.describe``) when and where it likes and hands it
back by ``deliver``. Live and offline callers share this class and get the same results.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from tracevlm_ros.core.attention.events import TraceEvent
from tracevlm_ros.core.attention.segmenter import TraceSegmenter
from tracevlm_ros.core.attention_record import AttentionRecord
from tracevlm_ros.core.beside import Beside
from tracevlm_ros.core.camera_path import CameraPath
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.description_due import is_due
from tracevlm_ros.core.drift_correction import DriftCorrection, KnownPlace
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.fast_path import FastPath, Look
from tracevlm_ros.core.gaze_mapping import GazeMapping
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.live_trace import LiveTrace, PendingEmbeddings
from tracevlm_ros.core.live_traces import NS_PER_MS, LiveTraces
from tracevlm_ros.core.mask_memory import MaskMemory
from tracevlm_ros.core.settings import fixed_values
from tracevlm_ros.core.slow_path import DescribeRequest, LocateRequest
from tracevlm_ros.core.sync import FrameBundle, Synchronizer
from tracevlm_ros.core.tracking import FrameMotion
from tracevlm_ros.core.types import (
    Description,
    Frame,
    GazeSample,
    Masks,
    PenState,
    TraceSnapshot,
    Word,
)


class StepResult(NamedTuple):
    """All that one frame gave."""

    frame: Frame
    masks: Masks
    traces: tuple[TraceSnapshot, ...]


class _Latest(NamedTuple):
    """The last step. ``shown``: traces whose words were not asked for yet; ``grounded``: what the
    slow path reads, once it was made."""

    frame: Frame
    look: Look | None
    snapshots: tuple[TraceSnapshot, ...]
    shown: tuple[LiveTrace, ...]
    grounded: Any = None


class Pipeline:
    """One camera and one person. Not thread-safe; the engine may be shared.

    ``beside`` may do some of a step's work in other threads, with the same results: the memory
    looks at a frame, and the engine begins to encode it, while traces are tracked.
    """

    def __init__(
        self,
        config: PipelineConfig,
        engine: Engine,
        gaze_mapping: GazeMapping | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.config = config
        self.engine = engine
        self.drops = Drops()
        self.gaze_mapping = gaze_mapping
        self.drift = DriftCorrection(config.drift, self.drops)
        focal_px = config.trace.focal_px
        self.lens = None if focal_px is None else Lens(focal_px)
        self._sync = Synchronizer(config.sync, self.drops)
        self._segmenter = TraceSegmenter(config.trace, self.drops)
        self._path = CameraPath()
        self._live = LiveTraces(config, self._path, self.drops)
        self._memory = MaskMemory(config.memory)
        self._fast_path = FastPath(engine, self._live, self._memory, config.fovea, beside)
        self.attention = AttentionRecord(config.dwell, self._path, self.drops)
        self._ready: list[FrameBundle] = []
        self._latest: _Latest | None = None
        self._unsettled: StepResult | None = None
        self._beside = beside
        self._stamp_ns = 0

    def change(self, config: PipelineConfig) -> None:
        """Go on with other settings from the next step on.

        ConfigError names one that is not live (``core.settings``): it needs a new pipeline.
        """
        before = fixed_values(self.config)
        for name, value in fixed_values(config).items():
            if value != before[name]:
                raise ConfigError(
                    f"setting '{name}' is {before[name]!r} while the pipeline runs; "
                    f"for {value!r} make a new one"
                )
        self.config = self._live.config = config
        self._memory.config = config.memory
        self._fast_path.fovea = config.fovea
        self.attention.change(config.dwell)

    def add_gaze(self, sample: GazeSample) -> None:
        if sample.pen == PenState.UNKNOWN and self.config.gaze_offset_ms:
            offset_ns = round(self.config.gaze_offset_ms * NS_PER_MS)
            sample = sample._replace(stamp_ns=sample.stamp_ns + offset_ns)
        self._sync.push_gaze(sample)

    def add_known_place(self, place: KnownPlace) -> None:
        """A target that is being looked at; teaches the drift correction where that is enabled."""
        self.drift.add_place(place)

    def add_word(self, word: Word) -> None:
        """Words weigh the trace that was drawn while they were spoken."""
        self._live.add_word(word)

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

    def step(self) -> StepResult | None:
        """Process the oldest ready frame; None when none is ready."""
        self._ready += self._sync.pop_ready()
        if not self._ready:
            return None
        self.settle()
        bundle = self._ready.pop(0)
        if bundle.was_reset:
            self._restart()
        frame = bundle.frame
        self._stamp_ns = frame.stamp_ns
        self._fast_path.begin(frame)
        self._attend(bundle)
        self._live.retire(frame.stamp_ns)
        shown = self._live.shown(self.engine.info.max_traces)
        look = self._fast_path.look(frame, shown)
        self._steer(shown)
        snapshots = tuple(self._live.snapshot(live) for live in shown)
        masks = self._fast_path.run(frame, look, shown, snapshots)
        self._latest = _Latest(frame, look, snapshots, tuple(shown))
        self._unsettled = StepResult(frame, masks, snapshots)
        return self._unsettled

    def requests(self) -> tuple[DescribeRequest, ...]:
        """What of the last step is to be described, oldest trace first; asked again, nothing.

        A caller that asks after it has used the masks has them sooner: words are of the whole
        frame, and the model may have been shown a part of it only.
        """
        if self._latest is None:
            return ()
        latest, self._latest = self._latest, self._latest._replace(shown=())
        requests = []
        for index, (live, snapshot) in enumerate(zip(latest.shown, latest.snapshots, strict=False)):
            if is_due(live, snapshot, self._stamp_ns, self.config.live, self.drops):
                live.described_ns = self._stamp_ns
                live.described_count = snapshot.sample_count
                requests.append(self._request(index, None))
        return tuple(requests)

    def settle(self) -> None:
        """Do what the last step left for the next one: it learns from the masks.

        ``step`` does it first; a caller that does it after a result was used saves time then.
        """
        done, self._unsettled = self._unsettled, None
        if done is not None:
            self._memory.learn()
            self._live.settle(done.masks, done.traces)

    def _attend(self, bundle: FrameBundle) -> None:
        """Carry traces and masks to this frame, and let its gaze open, grow and close traces."""
        frame = bundle.frame
        seen = self._beside(lambda: self._memory.look(frame)) if self._beside else None
        motion = self._live.advance(frame)
        self._follow_gaze(bundle, motion)
        self._memory.advance(frame, motion, seen() if seen else None)

    def _follow_gaze(self, bundle: FrameBundle, motion: FrameMotion) -> None:
        frame = bundle.frame
        height, width = frame.image_rgb.shape[:2]
        ended = self._segmenter.set_view((height, width), self._focal_in((height, width)))
        if motion.ends_scene:
            ended += self._segmenter.finish()
        elif motion.ok:
            self._segmenter.move(motion.homography)
        self._tell(ended)  # in the picture before
        self.attention.advance(frame.stamp_ns, motion)
        events: list[TraceEvent] = []
        for sample in bundle.gaze:
            looked = self._mapped(sample, (height, width))
            seen_px = self._path.carry((looked.x_px, looked.y_px), looked.stamp_ns)
            events += self._segmenter.push(looked, seen_px)
        self._tell(events + self._segmenter.advance(frame.stamp_ns))

    def _focal_in(self, size_hw: tuple[int, int]) -> float | None:
        """In pixels of the frame; what the settings say where the lens is of another picture."""
        if self.lens is None:
            return None
        focal_px = self.lens.focal_in(size_hw)
        if focal_px is None:
            self.drops["camera_info_other_shape"] += 1
            return self.config.trace.focal_px
        return focal_px

    def _tell(self, events: Iterable[TraceEvent]) -> None:
        for event in events:
            self._live.apply(event)
            self.attention.observe(event)

    def _steer(self, shown: list[LiveTrace]) -> None:
        """Let the carried masks place what the tracker lost, before the model is asked."""
        if not self.config.memory.steer:
            return
        for live in shown:
            carried = self._memory.carried(live.trace_id)
            if carried is not None:
                self._live.steer(live, carried.mask, carried.window, self.config.memory.core)

    def _mapped(self, sample: GazeSample, size_hw: tuple[int, int]) -> GazeSample:
        """Gaze as calibrated and without drift. A pointer is where it says; it tells of drift."""
        if sample.pen != PenState.UNKNOWN:
            if sample.pen == PenState.DOWN:
                self.drift.add_place(KnownPlace(sample.stamp_ns, sample.x_px, sample.y_px))
            return sample
        x_px, y_px = sample.x_px, sample.y_px
        if self.gaze_mapping is not None:
            x_px, y_px = self.gaze_mapping.apply_px(x_px, y_px, size_hw)
        is_trusted = sample.confidence >= self.config.trace.min_confidence
        if is_trusted and math.isfinite(x_px) and math.isfinite(y_px):
            self.drift.observe(sample.stamp_ns, x_px, y_px)
        x_px, y_px = self.drift.apply(x_px, y_px)
        return sample._replace(x_px=x_px, y_px=y_px)

    def _request(self, index: int, question: str | None) -> DescribeRequest:
        """About trace ``index`` of the latest frame, of which words are to see everything."""
        assert self._latest is not None
        latest = self._latest
        if latest.grounded is None:
            grounded = self._fast_path.ground_whole(latest.frame, latest.look, latest.snapshots)
            latest = self._latest = latest._replace(grounded=grounded)
        frame = latest.frame
        height, width = frame.image_rgb.shape[:2]
        return DescribeRequest(
            snapshot=latest.snapshots[index],
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            size_hw=(height, width),
            grounded=latest.grounded,
            place=index,
            question=question,
        )

    def ask(self, question: str) -> DescribeRequest | None:
        """A question about the newest shown trace on the latest frame; None when there is none."""
        if self._latest is None or not self._latest.snapshots:
            return None
        return self._request(len(self._latest.snapshots) - 1, question)

    def locate(self, text: str) -> LocateRequest | None:
        """A search for ``text`` in the latest frame, for an engine that locates; None before
        the first frame."""
        if self._latest is None:
            return None
        frame = self._latest.frame
        return LocateRequest(frame, self.engine.encode(frame.image_rgb), text)

    def deliver(self, request: DescribeRequest, description: Description) -> None:
        """Hand back the last part of a description; its embeddings take effect when due."""
        if request.question is not None:
            return
        live = self._live.get(request.trace_id)
        if live is None:
            self.drops["description_of_gone_trace"] += 1
        elif description.seg_embeddings is None:
            self.drops["description_without_mask"] += 1
        else:
            delay_ns = int(self.config.live.embedding_delay_ms * NS_PER_MS)
            due_ns = request.stamp_ns + delay_ns
            if self._stamp_ns >= due_ns:
                self.drops["embedding_late"] += 1
            live.expect(PendingEmbeddings(request.stamp_ns, due_ns, description.seg_embeddings))

    def _restart(self) -> None:
        self._unsettled = None
        for event in self._segmenter.reset():
            self.attention.observe(event)
        self._fast_path.reset()
        self._live.reset()
        self._memory.reset()
        self.attention.reset()
        self.drift.reset()
        self._latest = None
