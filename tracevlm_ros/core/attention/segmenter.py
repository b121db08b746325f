"""From single samples to traces: which samples are one act of attention.

Rules and reasons: docs/adr/0004-segmentation-of-attention.md.
"""

import math
from collections.abc import Iterable
from itertools import groupby
from statistics import median

import numpy as np

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Detector, Labelled, Point, scaled_by
from tracevlm_ros.core.attention.dispersion import DispersionDetector
from tracevlm_ros.core.attention.events import TraceClosed, TraceEvent, TraceOpened
from tracevlm_ros.core.attention.noise import NoiseEstimate
from tracevlm_ros.core.attention.open_trace import OpenTrace
from tracevlm_ros.core.attention.rate import RateEstimate
from tracevlm_ros.core.attention.strokes import StrokeDetector
from tracevlm_ros.core.attention.velocity import VelocityDetector
from tracevlm_ros.core.attention.view import View
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import FloatArray, GazeSample, PenState

NS_PER_MS = 1_000_000
INITIAL_NOISE_DEG = 0.1


class TraceSegmenter:
    """Takes samples with rising stamps, tells when traces open, grow and close.

    With a moving camera call ``move`` for every new frame and give ``push`` the place of each
    sample in the newest frame: then only the gaze is seen to move, not the head.

    Samples that belong to no trace are counted in ``drops``: ``gaze_lost`` (blink, low confidence),
    ``gaze_outside``, ``gaze_between_fixations``, ``pointer_pen_up``, ``gaze_disorder`` (a stamp
    that does not rise), ``gaze_stamp_invalid``.
    """

    def __init__(self, config: TraceConfig, drops: Drops) -> None:
        self._config = config
        self._drops = drops
        self._view = View.of(config.image_size_hw, config.focal_px, config.assumed_view_deg)
        self._max_gap_ns = round(config.max_gap_ms * NS_PER_MS)
        self._max_lost_ns = round(config.max_lost_ms * NS_PER_MS)
        self._confirm_ns = 2 * round(config.min_fixation_ms * NS_PER_MS)
        self._stroke_gap_ns = round(config.stroke_gap_ms * NS_PER_MS)
        self._pause_ns = round(config.pause_ms * NS_PER_MS)
        self._hold_ns = round(config.max_hold_ms * NS_PER_MS)
        self._noise = NoiseEstimate(INITIAL_NOISE_DEG)
        self._rate = RateEstimate()
        self._strokes = StrokeDetector(config)
        kind = VelocityDetector if config.detector == "velocity" else DispersionDetector
        self._fixations: Detector = kind(config, self._noise)
        self._is_pointer = config.source == "pointer"
        self._pen = PenState.UNKNOWN
        self._stamp_ns = 0
        self._usable_ns = 0
        self._trace: OpenTrace | None = None
        self._last_id = 0

    def set_view(self, size_hw: tuple[int, int], focal_px: float | None) -> list[TraceEvent]:
        """The camera's image size and focal length from now on.

        Another size is another picture: it closes the trace. Another focal length is better
        knowledge of the same picture: the trace goes on, its angles are told anew.
        """
        before = self._view
        if (size_hw, focal_px) == (before.size_hw, before.focal_px):
            return []
        events = self.finish() if size_hw != before.size_hw else []
        self._view = View.of(size_hw, focal_px, self._config.assumed_view_deg)
        if size_hw == before.size_hw:
            self._rescale(before.px_per_deg / self._view.px_per_deg)
        return events

    def move(self, homography: FloatArray) -> None:
        """The camera moved: (3, 3) takes pixels of the last frame to those of the new one."""
        if np.shape(homography) != (3, 3) or not np.isfinite(homography).all():
            self._drops["segmenter_move_invalid"] += 1
            return
        carry = self._view.carry(homography)
        self._noise.move(carry)
        self._detector.move(carry)
        if self._trace is not None:
            self._trace.move(carry)

    def push(
        self, sample: GazeSample, seen_px: tuple[float, float] | None = None
    ) -> list[TraceEvent]:
        """Take one sample; NaN coordinates and low confidence are lost gaze.

        ``seen_px``: where the sample lies in the newest frame, if not where it says.
        """
        if sample.stamp_ns <= self._stamp_ns:
            reason = "gaze_disorder" if sample.stamp_ns > 0 else "gaze_stamp_invalid"
            self._drops[reason] += 1
            return []
        events = self.advance(sample.stamp_ns)
        refusal = self._refusal(sample)
        if refusal is not None:
            self._drops[refusal] += 1
            return events
        point = self._view.point(sample, seen_px)
        events += self._switch_source(sample)
        if not self._is_pointer:
            events += self._measure(point)
        self._usable_ns = sample.stamp_ns
        self._pen = sample.pen
        return events + self._follow(self._detector.push(point))

    def advance(self, stamp_ns: int) -> list[TraceEvent]:
        """Time has come to ``stamp_ns``: fixations end by silence, traces by longer silence."""
        self._stamp_ns = max(self._stamp_ns, stamp_ns)
        events: list[TraceEvent] = []
        if self._usable_ns and stamp_ns - self._usable_ns > self._silence_limit_ns():
            events += self._interrupt()
        if self._trace is None:
            return events
        silent_ns = stamp_ns - self._trace.last_ns
        if self._is_pointer and silent_ns > max(self._stroke_gap_ns, self._silence_limit_ns()):
            events += self._close("pause")
        elif not self._is_pointer and silent_ns > self._max_lost_ns + self._confirm_ns:
            looked_elsewhere = self._usable_ns > self._trace.last_ns + self._confirm_ns
            events += self._close("shift" if looked_elsewhere else "lost")
        return events

    def finish(self) -> list[TraceEvent]:
        """Decide what is held and close the trace: end of stream, or a cut."""
        return self._interrupt() + self._close("end")

    def reset(self) -> list[TraceEvent]:
        """Stamps start anew (a bag loop): finish, and forget time; trace ids go on."""
        events = self.finish()
        self._stamp_ns = 0
        self._rate.restart()
        return events

    def _rescale(self, factor: float) -> None:
        self._noise.rescale(factor)
        self._detector.move(scaled_by(factor))
        if self._trace is not None:
            self._trace.rescale(factor)

    @property
    def _detector(self) -> Detector:
        return self._strokes if self._is_pointer else self._fixations

    def _refusal(self, sample: GazeSample) -> str | None:
        if not (math.isfinite(sample.x_px) and math.isfinite(sample.y_px)):
            return "gaze_lost"
        if not sample.confidence >= self._config.min_confidence:
            return "gaze_lost"
        inside = self._view.holds(sample.x_px, sample.y_px, self._config.outside_margin)
        return None if inside else "gaze_outside"

    def _switch_source(self, sample: GazeSample) -> list[TraceEvent]:
        if self._config.source != "auto":
            return []
        is_pointer = sample.pen is not PenState.UNKNOWN
        if is_pointer == self._is_pointer:
            return []
        events = self.finish()
        self._is_pointer = is_pointer
        return events

    def _measure(self, point: Point) -> list[TraceEvent]:
        """Learn noise and rate; a changed rate may ask for the other detector.

        What the old detector had not decided goes along to the new one.
        """
        self._noise.add(point.sample.stamp_ns, point.x_deg, point.y_deg)
        is_news = self._rate.add(point.sample.stamp_ns, self._usable_ns)
        if not is_news or self._config.detector != "auto":
            return []
        is_fast = self._rate.rate_hz > self._config.velocity_above_hz
        kind = VelocityDetector if is_fast else DispersionDetector
        if isinstance(self._fixations, kind):
            return []
        held = self._fixations.interrupt()
        self._fixations = kind(self._config, self._noise)
        if self._trace is not None:
            self._trace.label = 0
        return self._follow(
            decided for labelled in held for decided in self._fixations.push(labelled.point)
        )

    def _silence_limit_ns(self) -> int:
        """How long the device may say nothing before the fixation or stroke is over."""
        if not self._is_pointer:
            return self._max_gap_ns
        return self._hold_ns if self._pen is PenState.DOWN else self._pause_ns

    def _interrupt(self) -> list[TraceEvent]:
        events = self._follow(self._detector.interrupt())
        self._usable_ns = 0
        self._pen = PenState.UNKNOWN
        self._noise.interrupt()
        if self._trace is not None:
            self._trace.interrupt()
        return events

    def _follow(self, decided: Iterable[Labelled]) -> list[TraceEvent]:
        events: list[TraceEvent] = []
        for label, group in groupby(decided, key=lambda labelled: labelled.label):
            points = [labelled.point for labelled in group]
            if label == 0:
                reason = "pointer_pen_up" if self._is_pointer else "gaze_between_fixations"
                self._drops[reason] += len(points)
            else:
                events += self._grow(label, points)
        return events

    def _grow(self, label: int, points: list[Point]) -> list[TraceEvent]:
        events: list[TraceEvent] = []
        if self._trace is not None and label != self._trace.label:
            reason = self._parting_reason(self._trace, points)
            if reason is not None:
                events += self._close(reason)
        for point in points:
            stamp_ns = point.sample.stamp_ns
            if self._trace is not None and self._trace.is_over(stamp_ns):
                events += self._close("duration")
            if self._trace is None:
                self._last_id += 1
                self._trace = OpenTrace(self._last_id, stamp_ns, self._config, self._view)
                events.append(TraceOpened(self._last_id, stamp_ns))
            events.append(self._trace.grow(label, point))
        return events

    def _parting_reason(self, trace: OpenTrace, points: list[Point]) -> str | None:
        """Why a new fixation or stroke does not go on with the trace; None where it does."""
        silent_ns = points[0].sample.stamp_ns - trace.last_ns
        if silent_ns > (self._stroke_gap_ns if self._is_pointer else self._max_lost_ns):
            return "pause" if self._is_pointer else "lost"
        x_deg = median(point.x_deg for point in points)
        y_deg = median(point.y_deg for point in points)
        return None if trace.placement.joins(x_deg, y_deg) else "shift"

    def _close(self, reason: str) -> list[TraceEvent]:
        trace, self._trace = self._trace, None
        return [] if trace is None else [TraceClosed(trace.trace_id, trace.last_ns, reason)]
