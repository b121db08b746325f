"""From single samples to traces: which samples are one act of attention.

Rules and reasons: docs/adr/0004-segmentation-of-attention.md.
"""

import math
from collections import deque
from collections.abc import Iterable
from itertools import groupby
from statistics import median

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Detector, Labelled
from tracevlm_ros.core.attention.dispersion import DispersionDetector
from tracevlm_ros.core.attention.events import TraceClosed, TraceEvent, TraceGrown, TraceOpened
from tracevlm_ros.core.attention.noise import NoiseEstimate
from tracevlm_ros.core.attention.placement import Placement
from tracevlm_ros.core.attention.strokes import StrokeDetector
from tracevlm_ros.core.attention.velocity import VelocityDetector
from tracevlm_ros.core.attention.weights import SegmentPace, live_weight
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import GazeSample, PenState

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
INITIAL_NOISE_DEG = 0.1
RATE_HISTORY = 16


class TraceSegmenter:
    """Takes samples with rising stamps, tells when traces open, grow and close.

    Samples that belong to no trace are counted in ``drops``: ``gaze_lost`` (blink, low confidence),
    ``gaze_outside``, ``gaze_between_fixations``, ``pointer_pen_up``, ``gaze_disorder`` (a stamp
    that does not rise), ``gaze_stamp_invalid``.
    """

    def __init__(self, config: TraceConfig, drops: Drops) -> None:
        self._config = config
        self._drops = drops
        self._max_gap_ns = round(config.max_gap_ms * NS_PER_MS)
        self._max_lost_ns = round(config.max_lost_ms * NS_PER_MS)
        self._confirm_ns = 2 * round(config.min_fixation_ms * NS_PER_MS)
        self._stroke_gap_ns = round(config.stroke_gap_ms * NS_PER_MS)
        self._pause_ns = round(config.pause_ms * NS_PER_MS)
        self._hold_ns = round(config.max_hold_ms * NS_PER_MS)
        self._pen = PenState.UNKNOWN
        self._noise = NoiseEstimate(INITIAL_NOISE_DEG)
        self._intervals: deque[int] = deque(maxlen=RATE_HISTORY)
        self._stamp_ns = 0
        self._usable_ns = 0
        self._is_pointer = config.source == "pointer"
        self._strokes = StrokeDetector(config)
        kind = VelocityDetector if config.detector == "velocity" else DispersionDetector
        self._fixations: Detector = kind(config, self._noise)
        self._since_rated = RATE_HISTORY // 2
        self._trace: _OpenTrace | None = None
        self._last_id = 0
        self._set_scale(config.image_size_hw, config.focal_px)

    def set_view(self, size_hw: tuple[int, int], focal_px: float | None) -> list[TraceEvent]:
        """The camera's image size and focal length from now on; a change closes the trace."""
        if (size_hw, focal_px) == (self._size_hw, self._focal_px):
            return []
        events = self.finish()
        self._set_scale(size_hw, focal_px)
        return events

    def push(self, sample: GazeSample) -> list[TraceEvent]:
        """Take one sample; NaN coordinates and low confidence are lost gaze."""
        if sample.stamp_ns <= 0:
            self._drops["gaze_stamp_invalid"] += 1
            return []
        if sample.stamp_ns <= self._stamp_ns:
            self._drops["gaze_disorder"] += 1
            return []
        events = self.advance(sample.stamp_ns)
        reason = self._unusable(sample)
        if reason is not None:
            self._drops[reason] += 1
            return events
        events += self._switch_source(sample)
        if not self._is_pointer:
            events += self._measure_rate(sample)
            self._noise.add(sample.x_px / self._px_per_deg, sample.y_px / self._px_per_deg)
        self._usable_ns = sample.stamp_ns
        self._pen = sample.pen
        return events + self._follow(self._detect(sample))

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
        self._stamp_ns = self._usable_ns = 0
        self._intervals.clear()
        self._since_rated = RATE_HISTORY // 2
        return events

    @property
    def _detector(self) -> Detector:
        return self._strokes if self._is_pointer else self._fixations

    def _set_scale(self, size_hw: tuple[int, int], focal_px: float | None) -> None:
        self._size_hw = size_hw
        self._focal_px = focal_px
        self._long_side_px = max(size_hw)
        if focal_px is None:
            self._px_per_deg = self._long_side_px / self._config.assumed_view_deg
        else:
            self._px_per_deg = focal_px * math.pi / 180.0

    def _unusable(self, sample: GazeSample) -> str | None:
        if not (math.isfinite(sample.x_px) and math.isfinite(sample.y_px)):
            return "gaze_lost"
        if not sample.confidence >= self._config.min_confidence:
            return "gaze_lost"
        margin = self._config.outside_margin * self._long_side_px
        height, width = self._size_hw
        inside = -margin <= sample.x_px <= width + margin
        inside = inside and -margin <= sample.y_px <= height + margin
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

    def _interrupt(self) -> list[TraceEvent]:
        events = self._follow(self._detector.interrupt())
        self._usable_ns = 0
        self._pen = PenState.UNKNOWN
        self._noise.interrupt()
        if self._trace is not None:
            self._trace.interrupt()
        return events

    def _silence_limit_ns(self) -> int:
        """How long the device may say nothing before the fixation or stroke is over."""
        if not self._is_pointer:
            return self._max_gap_ns
        return self._hold_ns if self._pen is PenState.DOWN else self._pause_ns

    def _measure_rate(self, sample: GazeSample) -> list[TraceEvent]:
        """Change to the detector that suits the measured rate; what the old one held goes along."""
        if self._usable_ns:
            self._intervals.append(sample.stamp_ns - self._usable_ns)
            self._since_rated += 1
        if self._config.detector != "auto" or self._since_rated < RATE_HISTORY:
            return []
        self._since_rated = 0
        rate_hz = NS_PER_S / median(self._intervals)
        kind = VelocityDetector if rate_hz > self._config.velocity_above_hz else DispersionDetector
        if isinstance(self._fixations, kind):
            return []
        held = self._fixations.interrupt()
        self._fixations = kind(self._config, self._noise)
        if self._trace is not None:
            self._trace.label = 0
        return self._follow(
            decided for labelled in held for decided in self._detect(labelled.sample)
        )

    def _detect(self, sample: GazeSample) -> list[Labelled]:
        x_deg, y_deg = sample.x_px / self._px_per_deg, sample.y_px / self._px_per_deg
        return self._detector.push(sample, x_deg, y_deg)

    def _follow(self, decided: Iterable[Labelled]) -> list[TraceEvent]:
        events: list[TraceEvent] = []
        for label, group in groupby(decided, key=lambda labelled: labelled.label):
            samples = [labelled.sample for labelled in group]
            if label == 0:
                reason = "pointer_pen_up" if self._is_pointer else "gaze_between_fixations"
                self._drops[reason] += len(samples)
            else:
                events += self._grow(label, samples)
        return events

    def _grow(self, label: int, samples: list[GazeSample]) -> list[TraceEvent]:
        events: list[TraceEvent] = []
        if self._trace is not None and label != self._trace.label:
            reason = self._parting_reason(samples)
            if reason is not None:
                events += self._close(reason)
        for sample in samples:
            if self._trace is not None and self._trace.lasts_s(sample) > self._config.max_trace_s:
                events += self._close("duration")
            if self._trace is None:
                events.append(self._open(sample.stamp_ns))
            if self._trace is not None:
                events.append(self._trace.grow(label, sample))
        return events

    def _parting_reason(self, samples: list[GazeSample]) -> str | None:
        """Why a new fixation or stroke does not go on with the open trace; None where it does."""
        assert self._trace is not None
        silent_ns = samples[0].stamp_ns - self._trace.last_ns
        if silent_ns > (self._stroke_gap_ns if self._is_pointer else self._max_lost_ns):
            return "pause" if self._is_pointer else "lost"
        x_deg = median(sample.x_px for sample in samples) / self._px_per_deg
        y_deg = median(sample.y_px for sample in samples) / self._px_per_deg
        return None if self._trace.placement.joins(x_deg, y_deg) else "shift"

    def _open(self, stamp_ns: int) -> TraceOpened:
        self._last_id += 1
        self._trace = _OpenTrace(
            self._last_id, stamp_ns, self._config, self._px_per_deg, self._long_side_px
        )
        return TraceOpened(self._last_id, stamp_ns)

    def _close(self, reason: str) -> list[TraceEvent]:
        trace, self._trace = self._trace, None
        return [] if trace is None else [TraceClosed(trace.trace_id, trace.last_ns, reason)]


class _OpenTrace:
    """The trace that grows: its place, its current segment and that segment's weight."""

    def __init__(
        self, trace_id: int, start_ns: int, config: TraceConfig, px_per_deg: float, long_side: int
    ) -> None:
        self.trace_id = trace_id
        self.label = 0
        self.last_ns = start_ns
        self.placement = Placement(config.cluster_deg, config.trace_extent_deg)
        self._start_ns = start_ns
        self._config = config
        self._px_per_deg = px_per_deg
        self._long_side_px = long_side
        self._segment = -1
        self._pace = SegmentPace()
        self._was_interrupted = False

    def interrupt(self) -> None:
        """Gaze was lost or the pointer paused: the next sample begins a segment."""
        self.label = 0
        self._was_interrupted = True

    def lasts_s(self, sample: GazeSample) -> float:
        return (sample.stamp_ns - self._start_ns) / NS_PER_S

    def grow(self, label: int, sample: GazeSample) -> TraceGrown:
        is_first = self._segment < 0
        begins = label != self.label
        if begins:
            self.label = label
            self._segment += 1
            self._pace = SegmentPace()
            self.placement.begin_segment()
        is_stroke = sample.pen is PenState.DOWN
        lifted = begins and not is_first and (is_stroke or self._was_interrupted)
        self._was_interrupted = False
        self.last_ns = sample.stamp_ns
        self.placement.add(sample.x_px / self._px_per_deg, sample.y_px / self._px_per_deg)
        scale = self._long_side_px
        self._pace.add(sample.stamp_ns, sample.x_px / scale, sample.y_px / scale)
        return TraceGrown(self.trace_id, sample, lifted, self._weight(), self._segment)

    def _weight(self) -> float:
        dwell_scale_s = self._config.dwell_scale_ms / 1000.0
        pace = self._pace
        return live_weight(pace.dwell_s, pace.speed, dwell_scale_s, self._config.speed_scale)
