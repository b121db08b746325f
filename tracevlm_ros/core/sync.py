"""Pairing gaze with frames by stamp: the one place where order of arrival is forgotten.

Rules and reasons: docs/adr/0003-time-and-order.md. Nothing here reads a clock; time is what the
stamps say, so that live and offline runs of the same data give the same bundles.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.gaze_buffer import GazeBuffer, with_plain_loss
from tracevlm_ros.core.settings import require_range, require_settings, setting
from tracevlm_ros.core.stamp_gate import StampGate
from tracevlm_ros.core.types import Frame, GazeSample

NS_PER_MS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncConfig:
    """Bounds of waiting and of doubt."""

    reorder_window_ms: float = setting(
        5.0, "How late a gaze sample may come behind the newest one.", 0.0, 1000.0
    )
    max_gaze_gap_ms: float = setting(
        50.0,
        "Two samples farther apart than this are never interpolated between.",
        0.0,
        10_000.0,
    )
    max_waiting_frames: int = setting(
        8, "More waiting frames than this, and the oldest goes without its gaze.", 1, 1000
    )
    max_gaze_samples: int = setting(
        4096, "Gaze kept while no frame comes; the oldest goes first.", 16, 1_000_000
    )
    jump_back_ms: float = setting(
        500.0,
        "A stamp this far before the newest one is doubted. At least reorder_window_ms.",
        0.0,
        3_600_000.0,
    )
    jump_forward_ms: float = setting(
        10_000.0,
        "A stamp this far after the newest one is doubted. At least reorder_window_ms.",
        0.0,
        3_600_000.0,
    )
    jump_confirm_gaze: int = setting(
        3, "Gaze samples in a row with doubted stamps after which these are believed.", 1, 100
    )
    jump_confirm_frames: int = setting(
        2, "Frames in a row with doubted stamps after which these are believed.", 1, 100
    )

    def __post_init__(self) -> None:
        require_settings(self, "sync")
        for name in ("jump_back_ms", "jump_forward_ms"):
            low = self.reorder_window_ms
            require_range(f"sync.{name}", getattr(self, name), low, 3_600_000)


class FrameBundle(NamedTuple):
    """A frame and the gaze that belongs to it.

    ``gaze``: samples in ``(previous frame, this frame]``, rising stamps; a sample whose own frame
    had to go without it comes with the next one. Lost gaze has NaN coordinates.
    ``gaze_at_frame``: interpolated at the frame's stamp; None where gaze is lost or too sparse.
    ``was_reset``: stamps jumped before this frame, so nothing older may be used with it.
    """

    frame: Frame
    gaze: tuple[GazeSample, ...]
    gaze_at_frame: GazeSample | None
    was_reset: bool


class _Waiting(NamedTuple):
    frame: Frame
    epoch: int


class Synchronizer:
    """Takes frames and gaze in any order of arrival, hands out bundles in order of stamps.

    A frame is ready when the newest gaze is ``reorder_window_ms`` past it and past the sample after
    it. Provided each sample comes within that window and frames come in order, the bundles depend
    on the data alone.
    Counts in ``drops``: ``gaze_stamp_invalid``, ``gaze_duplicate``, ``gaze_late``,
    ``gaze_stamp_jump``, ``gaze_overflow``, ``gaze_reset``, the same for ``frame_``, and
    ``frame_without_gaze`` for a frame handed out before its gaze was complete.
    """

    def __init__(self, config: SyncConfig, drops: Drops) -> None:
        self._config = config
        self._drops = drops
        self._window_ns = round(config.reorder_window_ms * NS_PER_MS)
        self._gap_ns = round(config.max_gaze_gap_ms * NS_PER_MS)
        self._jump_ns = round(config.jump_back_ms * NS_PER_MS)
        self._start()

    def _start(self) -> None:
        config = self._config
        forward_ns = round(config.jump_forward_ms * NS_PER_MS)
        self._gaze_gate: StampGate[GazeSample] = StampGate(
            self._jump_ns, forward_ns, config.jump_confirm_gaze
        )
        self._frame_gate: StampGate[Frame] = StampGate(
            self._jump_ns, forward_ns, config.jump_confirm_frames
        )
        self._gaze = GazeBuffer(self._window_ns)
        self._past: GazeBuffer | None = None
        self._waiting: deque[_Waiting] = deque()
        self._frame_epoch = 0
        self._given_epoch = 0
        self._newest_frame_ns = 0
        self._gaze_should_follow = False

    @property
    def waiting_frames(self) -> int:
        """How many frames wait for their gaze."""
        return len(self._waiting)

    @property
    def gaze_watermark_ns(self) -> int:
        """Stamp of the newest accepted gaze sample; 0 before the first."""
        return self._gaze.watermark_ns

    def push_gaze(self, sample: GazeSample) -> None:
        """Accept one sample; non-finite coordinates are kept as lost gaze (NaN, confidence 0)."""
        if sample.stamp_ns <= 0:
            self._drops["gaze_stamp_invalid"] += 1
            return
        verdict = self._gaze_gate.admit(sample.stamp_ns, with_plain_loss(sample))
        self._count("gaze_stamp_jump", verdict.refused)
        if verdict.jumped_back:
            self._begin_gaze_epoch()
        for item in verdict.accepted:
            self._insert(item)

    def push_frame(self, frame: Frame) -> None:
        """Accept one frame; it waits until its gaze is complete."""
        if frame.stamp_ns <= 0:
            self._drops["frame_stamp_invalid"] += 1
            return
        verdict = self._frame_gate.admit(frame.stamp_ns, frame)
        self._count("frame_stamp_jump", verdict.refused)
        if verdict.jumped_back or verdict.jumped_forward:
            self._begin_frame_epoch(verdict.accepted[0])
        for item in verdict.accepted:
            self._enqueue(item)

    def pop_ready(self) -> list[FrameBundle]:
        """Hand out every frame whose gaze is complete, and those that overflow the wait."""
        bundles = []
        while self._waiting:
            head = self._waiting[0]
            if not self._is_ready(head):
                if len(self._waiting) <= self._config.max_waiting_frames:
                    break
                self._give_up_waiting()
            bundles.append(self._hand_out(self._waiting.popleft()))
        return bundles

    def flush(self) -> list[FrameBundle]:
        """Hand out every waiting frame with the gaze that is there (end of stream or of patience).

        Gaze that comes later for these frames goes with the next frame.
        """
        bundles = []
        while self._waiting:
            if not self._is_ready(self._waiting[0]):
                self._give_up_waiting()
            bundles.append(self._hand_out(self._waiting.popleft()))
        return bundles

    def reset(self) -> None:
        """Forget everything, as if new; what was still held is counted."""
        self._forget_past()
        self._count("gaze_reset", self._gaze.held_count + self._gaze_gate.held_count)
        self._count("frame_reset", len(self._waiting) + self._frame_gate.held_count)
        self._start()

    def _count(self, reason: str, count: int) -> None:
        if count:
            self._drops[reason] += count

    def _begin_gaze_epoch(self) -> None:
        self._forget_past()
        self._past = self._gaze
        self._gaze = GazeBuffer(self._window_ns)
        self._gaze_should_follow = False

    def _begin_frame_epoch(self, frame: Frame) -> None:
        self._frame_epoch += 1
        self._newest_frame_ns = 0
        ahead_ns = self._gaze.watermark_ns - frame.stamp_ns
        self._gaze_should_follow = self._past is None and ahead_ns > self._jump_ns

    def _forget_past(self) -> None:
        if self._past is not None:
            self._count("gaze_reset", self._past.held_count)
            self._past = None

    def _insert(self, sample: GazeSample) -> None:
        refusal = self._gaze.insert(sample)
        if refusal is not None:
            self._drops[refusal] += 1
        if self._gaze.held_count > self._config.max_gaze_samples:
            self._gaze.forget_oldest()
            self._drops["gaze_overflow"] += 1

    def _enqueue(self, frame: Frame) -> None:
        if frame.stamp_ns == self._newest_frame_ns:
            self._drops["frame_duplicate"] += 1
        elif frame.stamp_ns < self._newest_frame_ns:
            self._drops["frame_late"] += 1
        else:
            self._newest_frame_ns = frame.stamp_ns
            self._waiting.append(_Waiting(frame, self._frame_epoch))

    def _belongs_to_past(self, stamp_ns: int) -> bool:
        if self._past is None:
            return False
        to_past_ns = abs(stamp_ns - self._past.watermark_ns)
        return to_past_ns < abs(stamp_ns - self._gaze.watermark_ns)

    def _is_ready(self, waiting: _Waiting) -> bool:
        stamp_ns = waiting.frame.stamp_ns
        if self._belongs_to_past(stamp_ns):
            return True
        if self._gaze_should_follow and waiting.epoch == self._frame_epoch:
            return False
        return self._gaze.is_settled(stamp_ns, self._gap_ns)

    def _give_up_waiting(self) -> None:
        self._drops["frame_without_gaze"] += 1
        if self._waiting[0].epoch == self._frame_epoch:
            self._gaze_should_follow = False

    def _hand_out(self, waiting: _Waiting) -> FrameBundle:
        stamp_ns = waiting.frame.stamp_ns
        if self._past is not None and self._belongs_to_past(stamp_ns):
            buffer = self._past
        else:
            self._forget_past()
            buffer = self._gaze
        gaze = buffer.take_until(stamp_ns)
        was_reset = waiting.epoch != self._given_epoch
        self._given_epoch = waiting.epoch
        return FrameBundle(waiting.frame, gaze, buffer.at(stamp_ns, self._gap_ns), was_reset)
