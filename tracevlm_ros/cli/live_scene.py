"""What a running graph tells, joined by the stamps of the frames and written to a Rerun log.

Topics come independently: a frame is written when masks of a later one have come, or when so many
frames wait that nobody seems to make masks. No ROS in here.
"""

from tracevlm_ros.cli.rerun_log import RerunLog
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Frame, GazeSample, Image, Masks, TraceSnapshot
from tracevlm_ros.evaluation.outcome import (
    CaptionBoard,
    FrameOutcome,
    SpokenCaption,
    shown_trace_ids,
)

HELD_FRAMES = 30
"""A second of video; longer, and masks are not waited for any more."""


class LiveScene:
    """Takes what comes in any order across topics, in order within one. Not thread-safe.

    ``drops`` counts ``frame_without_masks`` (written as they are) and ``masks_without_frame``.
    """

    def __init__(self, log: RerunLog) -> None:
        self.frames = 0
        self.drops = Drops()
        self._log = log
        self._board = CaptionBoard()
        self._frames: dict[int, Frame] = {}
        self._masks: dict[int, Masks] = {}
        self._traces: dict[int, dict[int, TraceSnapshot]] = {}
        self._gaze: list[GazeSample] = []
        self._newest_masks_ns = 0

    def add_frame(self, frame: Frame) -> None:
        self._frames[frame.stamp_ns] = frame
        self._write_due()

    def add_masks(self, masks: Masks) -> None:
        """Stamps that fall begin a new recording: what came before is written first."""
        if masks.stamp_ns < self._newest_masks_ns:
            self.finish()
        self._newest_masks_ns = masks.stamp_ns
        self._masks[masks.stamp_ns] = masks
        self._write_due()

    def add_trace(self, stamp_ns: int, trace: TraceSnapshot) -> None:
        """A trace on the frame of ``stamp_ns``."""
        self._traces.setdefault(stamp_ns, {})[trace.trace_id] = trace

    def add_caption(self, spoken: SpokenCaption) -> None:
        """Logged at the frame that it describes; beside the trace it stands from now on."""
        self._log.add_caption(spoken)
        self._board.add([spoken._replace(published_ns=0)])

    def add_gaze(self, sample: GazeSample) -> None:
        self._gaze.append(sample)

    def add_attention(self, stamp_ns: int, dwell: Image) -> None:
        self._log.add_attention(stamp_ns, dwell)

    def finish(self) -> None:
        """Write every frame that is held, with what there is."""
        while self._frames:
            self._write_oldest()
        self._forget_until(self._newest_masks_ns)
        self._newest_masks_ns = 0

    def _write_due(self) -> None:
        while self._frames and (
            len(self._frames) > HELD_FRAMES or min(self._frames) < self._newest_masks_ns
        ):
            self._write_oldest()

    def _write_oldest(self) -> None:
        stamp_ns = min(self._frames)
        frame = self._frames.pop(stamp_ns)
        masks = self._masks.pop(stamp_ns, None)
        traces = tuple(self._traces.pop(stamp_ns, {}).values())
        self.drops["frame_without_masks"] += masks is None
        outcome = FrameOutcome(frame, masks, traces, ())
        self._log.add_frame(outcome, self._board.texts_at(stamp_ns, shown_trace_ids(outcome)))
        self._log.add_gaze(self._gaze)
        self._gaze.clear()
        self._forget_until(stamp_ns)
        self.frames += 1

    def _forget_until(self, stamp_ns: int) -> None:
        """What belongs to a frame up to here has no frame any more."""
        for stamp in [one for one in self._masks if one <= stamp_ns]:
            del self._masks[stamp]
            self.drops["masks_without_frame"] += 1
        for stamp in [one for one in self._traces if one <= stamp_ns]:
            del self._traces[stamp]
