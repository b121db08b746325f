"""Where attention was and is: the dwell map in the current frame, dwell times, transitions."""

from tracevlm_ros.core.attention.dwell import DwellConfig, DwellMap
from tracevlm_ros.core.attention.events import TraceEvent, TraceGrown
from tracevlm_ros.core.attention.ledger import AttentionLedger, NewestAttention, Transition
from tracevlm_ros.core.camera_path import CameraPath
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.tracking import FrameMotion
from tracevlm_ros.core.types import Image

_MAX_STEP_S = 0.1
"""A longer silence between two samples of a trace is time in which nobody knows the gaze."""


class AttentionRecord:
    """Fed with frame motions and trace events in order; ``path`` brings late gaze up to date."""

    def __init__(self, config: DwellConfig, path: CameraPath, drops: Drops) -> None:
        self._map = DwellMap(config, drops)
        self._ledger = AttentionLedger()
        self._path = path
        self._map_ns = 0
        self._sample_ns = 0

    def change(self, config: DwellConfig) -> None:
        """Draw and forget by other settings from now on."""
        self._map.config = config

    def reset(self) -> None:
        """A new recording: the map is emptied; dwell times and transitions stay, but no transition
        leads from the old recording to the new one."""
        self._map.clear()
        self._ledger.restart()
        self._map_ns = self._sample_ns = 0

    def advance(self, stamp_ns: int, motion: FrameMotion) -> None:
        """The picture moved by ``motion`` to the frame of ``stamp_ns``."""
        if motion.ends_scene:
            self._map.clear()
        elif motion.ok:
            self._map.move(motion.homography)
        self._map.pass_time(self._unseen_s(stamp_ns))

    def observe(self, event: TraceEvent) -> None:
        """Take the segmenter's events in order."""
        self._ledger.observe(event)
        if not isinstance(event, TraceGrown):
            return
        sample = event.sample
        x_px, y_px = self._path.carry((sample.x_px, sample.y_px), sample.stamp_ns)
        step_s = (sample.stamp_ns - self._sample_ns) / 1e9
        self._sample_ns = sample.stamp_ns
        dwell_s = 0.0 if event.pen_up else min(max(step_s, 0.0), _MAX_STEP_S)
        self._map.add(x_px, y_px, dwell_s)
        self._map_ns += round(dwell_s * 1e9)

    def _unseen_s(self, stamp_ns: int) -> float:
        """Seconds by which the map's time lags behind ``stamp_ns``; catches up."""
        lag_ns = stamp_ns - self._map_ns if self._map_ns else 0
        self._map_ns = max(self._map_ns, stamp_ns)
        return max(lag_ns, 0) / 1e9

    def dwell_s(self) -> dict[int, float]:
        """Trace id -> seconds looked at."""
        return self._ledger.dwell_s

    def transitions(self) -> tuple[Transition, ...]:
        """From which trace attention went to which, oldest first."""
        return self._ledger.transitions

    def newest(self, count: int) -> NewestAttention:
        """The last ``count`` of both."""
        return self._ledger.newest(count)

    def render(self, size_hw: tuple[int, int]) -> Image:
        """Dwell of the last seconds in the current frame, uint8 ``size_hw``."""
        return self._map.render(size_hw)
