"""The trace that grows: where it is, its current segment and that segment's live weight."""

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.detector import Carry, Point, scaled_by
from tracevlm_ros.core.attention.events import TraceGrown
from tracevlm_ros.core.attention.placement import Placement
from tracevlm_ros.core.attention.view import View
from tracevlm_ros.core.attention.weights import SegmentPace, live_weight
from tracevlm_ros.core.types import PenState

NS_PER_S = 1_000_000_000


class OpenTrace:
    """Takes the trace's samples one by one; positions are degrees in the newest frame."""

    def __init__(self, trace_id: int, start_ns: int, config: TraceConfig, view: View) -> None:
        self.trace_id = trace_id
        self.label = 0
        self.last_ns = start_ns
        self.placement = Placement(config.cluster_deg, config.trace_extent_deg)
        self._start_ns = start_ns
        self._max_ns = round(config.max_trace_s * NS_PER_S)
        self._dwell_scale_s = config.dwell_scale_ms / 1000.0
        self._speed_scale = config.speed_scale * view.long_side_deg
        self._segment = -1
        self._pace = SegmentPace()
        self._was_interrupted = False

    def interrupt(self) -> None:
        """Gaze was lost or the pointer paused: the next sample begins a segment."""
        self.label = 0
        self._was_interrupted = True

    def move(self, carry: Carry) -> None:
        """The camera moved."""
        self.placement.move(carry)
        self._pace.move(carry)

    def rescale(self, factor: float) -> None:
        """A degree is another number of pixels: every angle is ``factor`` times as much."""
        self.placement.move(scaled_by(factor))
        self._pace.rescale(factor)
        self._speed_scale *= factor

    def is_over(self, stamp_ns: int) -> bool:
        """Has the trace lasted longer than any may?"""
        return stamp_ns - self._start_ns > self._max_ns

    def grow(self, label: int, point: Point) -> TraceGrown:
        """Add one sample of fixation or stroke ``label``."""
        sample, x_deg, y_deg = point
        begins = label != self.label
        is_first = self._segment < 0
        if begins:
            self.label = label
            self._segment += 1
            self._pace = SegmentPace()
            self.placement.begin_segment()
        is_stroke = sample.pen is PenState.DOWN
        lifted = begins and not is_first and (is_stroke or self._was_interrupted)
        self._was_interrupted = False
        self.last_ns = sample.stamp_ns
        self.placement.add(x_deg, y_deg)
        self._pace.add(sample.stamp_ns, x_deg, y_deg)
        return TraceGrown(self.trace_id, sample, lifted, self._weight(), self._segment)

    def _weight(self) -> float:
        pace = self._pace
        return live_weight(pace.dwell_s, pace.speed, self._dwell_scale_s, self._speed_scale)
