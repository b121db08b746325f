"""The traces that are alive: grown by events, moved by the tracker, retired in the end."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.attention.events import TraceClosed, TraceEvent, TraceGrown, TraceOpened
from tracevlm_ros.core.attention.trace import Trace
from tracevlm_ros.core.camera_path import CameraPath
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.fovea import Window, whole
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.live_trace import LiveTrace
from tracevlm_ros.core.lookup import values_at
from tracevlm_ros.core.tracking import FrameMotion, PointStatus, TraceTracker
from tracevlm_ros.core.types import (
    BoolArray,
    FloatArray,
    Frame,
    Masks,
    TraceSnapshot,
    Word,
)

NS_PER_MS = 1_000_000
_REANCHOR_SHARE = 0.5
_REANCHOR_AREA = 0.5


class LiveTraces:
    """Open traces and those closed at most ``live.linger_ms`` ago, ``live.max_traces`` in all.

    Frame motions are written to ``path``. ``config.live`` may change between two frames.
    """

    def __init__(self, config: PipelineConfig, path: CameraPath, drops: Drops) -> None:
        self.config = config
        self._drops = drops
        self._tracker = TraceTracker(config.tracking, drops)
        self._path = path
        self._size_hw = (0, 0)
        self._traces: dict[int, LiveTrace] = {}

    def get(self, trace_id: int) -> LiveTrace | None:
        return self._traces.get(trace_id)

    def reset(self) -> None:
        """Forget all traces and the previous frame."""
        self._tracker.reset()
        self._path.reset()
        self._traces.clear()

    def advance(self, frame: Frame) -> FrameMotion:
        """Carry every point of every trace to ``frame``."""
        motion = self._tracker.advance(frame)
        self._path.add(frame.stamp_ns, motion)
        height, width = frame.image_rgb.shape[:2]
        self._size_hw = (height, width)
        return motion

    def apply(self, event: TraceEvent) -> None:
        """Open, grow or close a trace. Events of a trace that is gone are counted and left."""
        if isinstance(event, TraceOpened):
            trace = Trace(event.trace_id, self.config.geometry, self._size_hw, self._drops)
            self._traces[event.trace_id] = LiveTrace(trace)
            return
        live = self._traces.get(event.trace_id)
        if live is None:
            self._drops["trace_gone"] += 1
        elif isinstance(event, TraceGrown):
            live.trace.grow(event)
            point = self._path.carry(live.trace.newest_xy_px, event.sample.stamp_ns)
            self._tracker.extend(event.trace_id, [point])
        elif isinstance(event, TraceClosed):
            live.trace.close()
            live.closed_ns = event.stamp_ns

    def add_word(self, word: Word) -> None:
        """Words weigh the traces that were drawn while they were spoken."""
        for live in self._traces.values():
            if live.trace.start_ns < word.end_ns and word.start_ns <= live.trace.end_ns:
                live.trace.push_word(word)

    def retire(self, stamp_ns: int) -> None:
        """Drop closed traces whose linger time is over, and the oldest beyond ``max_traces``."""
        linger_ns = int(self.config.live.linger_ms * NS_PER_MS)
        over = [
            trace_id
            for trace_id, live in self._traces.items()
            if not live.trace.is_open and stamp_ns - live.closed_ns > linger_ns
        ]
        rest = [trace_id for trace_id in self._traces if trace_id not in over]
        for trace_id in over + rest[: max(0, len(rest) - self.config.live.max_traces)]:
            if len(self._traces.pop(trace_id).trace):
                self._tracker.forget(trace_id)

    def shown(self, limit: int) -> list[LiveTrace]:
        """The newest ``limit`` traces that have points, oldest first."""
        return [live for live in self._traces.values() if len(live.trace)][-limit:]

    def snapshot(self, live: LiveTrace) -> TraceSnapshot:
        """The trace with its keypoints in pixels of the current frame."""
        indices = live.trace.keypoint_indices()
        self._tracker.set_keypoints(live.trace_id, indices)
        positions = self._tracker.positions(live.trace_id)
        return live.snapshot(indices, positions, self._tracker.status(live.trace_id))

    def is_lost(self, live: LiveTrace) -> bool:
        """True while the tracker does not know where the trace's object is."""
        return self._tracker.lost(live.trace_id)

    def surely_seen(self, live: LiveTrace) -> FloatArray:
        """Points (K, 2) in 0..1 of the frame that surely still are where they were drawn."""
        height, width = self._size_hw
        seen_px = self._tracker.surely_seen(live.trace_id)
        return np.asarray((seen_px + 0.5) / (width, height), dtype=np.float64)

    def steer(self, live: LiveTrace, carried: BoolArray, window: Window, core: float) -> None:
        """Move points that nobody sees into the ``carried`` mask (any size, over ``window``).

        Only of a closed trace: while one looks or draws, gaze itself says where the object is.
        """
        if live.trace.is_open or not carried.any():
            return
        hidden = self._tracker.status(live.trace_id) != PointStatus.TRACKED
        if not self.is_lost(live) and self._all_on(carried, live.trace_id, hidden, window=window):
            return
        mask = np.zeros(self._size_hw, np.bool_)
        window.cut(mask)[:] = (
            cv2.resize(
                carried.astype(np.uint8), window.size_hw[::-1], interpolation=cv2.INTER_NEAREST
            )
            > 0
        )
        self._tracker.steer(live.trace_id, mask, core)

    def settle(self, masks: Masks, snapshots: tuple[TraceSnapshot, ...]) -> None:
        """Pull stray points back onto each good mask, and prepare for the next frame.

        A mask is good when it holds most keypoints and is no more than half of the picture; a
        mask that leaked or jumped must not take the trace along.
        """
        for snapshot in snapshots:
            if snapshot.trace_id in masks.trace_ids:
                self._reanchor(snapshot, masks.labels)
        self._tracker.prepare()

    def _reanchor(self, snapshot: TraceSnapshot, labels: NDArray[np.uint16]) -> None:
        trace_id, label = snapshot.trace_id, label_of(snapshot.trace_id)
        seen = snapshot.keypoints.xy_px[~snapshot.keypoints.lost]
        on = values_at(labels, seen, self._size_hw) == label
        if not on.any() or float(on.mean()) < _REANCHOR_SHARE:
            return
        if not self._tracker.lost(trace_id) and self._all_on(labels, trace_id, True, label):
            return
        mask = labels == label
        if np.count_nonzero(mask) <= _REANCHOR_AREA * mask.size:
            self._tracker.reanchor(trace_id, mask)

    def _all_on(
        self,
        image: NDArray[Any],
        trace_id: int,
        asked: BoolArray | bool,
        value: int = 1,
        window: Window | None = None,
    ) -> bool:
        """Whether the ``asked`` points of a trace that have a place all lie on ``value``.

        ``image`` covers ``window``, or the frame, at any size: masks at the frame's size need not
        be made. Outside the window nothing is.
        """
        window = window or whole(self._size_hw)
        xy_px = self._tracker.positions(trace_id)
        points = xy_px[np.isfinite(xy_px).all(axis=1) & asked]
        return bool((values_at(image, window.points(points), window.size_hw) == value).all())
