"""A trace that is being shown: its keypoints in the current frame and its mask prompt."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.attention import Trace
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.tokens import dequantise, quantise
from tracevlm_ros.core.tracking import PointStatus
from tracevlm_ros.core.types import FloatArray, Keypoints, TraceSnapshot


@dataclass(slots=True)
class PendingEmbeddings:
    """Segmentation embeddings (6, D) that take effect at the first frame from ``due_ns`` on."""

    described_ns: int
    due_ns: int
    seg_embeddings: NDArray[np.float32]


@dataclass(slots=True)
class LiveTrace:
    """One trace between its first sample and the end of its linger time."""

    trace: Trace
    is_open: bool = True
    closed_ns: int = 0
    described_ns: int = 0
    described_count: int = 0
    is_short: bool = True
    seg_embeddings: NDArray[np.float32] | None = None
    seg_described_ns: int = 0
    pending: list[PendingEmbeddings] = field(default_factory=list)

    @property
    def trace_id(self) -> int:
        return self.trace.trace_id

    def adopt_due(self, stamp_ns: int) -> None:
        """Take the newest embeddings that are due at the frame of ``stamp_ns``."""
        due = [p for p in self.pending if p.due_ns <= stamp_ns]
        if not due:
            return
        newest = max(due, key=lambda p: p.described_ns)
        self.pending = [p for p in self.pending if p.due_ns > stamp_ns]
        if newest.described_ns >= self.seg_described_ns:
            self.seg_embeddings = newest.seg_embeddings
            self.seg_described_ns = newest.described_ns

    def snapshot(
        self, indices: NDArray[np.int64], positions_px: FloatArray, status: NDArray[np.int8]
    ) -> TraceSnapshot:
        """The trace with its keypoints ``indices`` where the tracker has them in this frame."""
        trace = self.trace
        keypoints = Keypoints(
            xy_px=positions_px[indices],
            stamp_ns=trace.stamps_ns[indices],
            weight=trace.weights[indices],
            pen_up=trace.pen_up[indices],
            lost=status[indices] == PointStatus.LOST,
        )
        return TraceSnapshot(
            trace_id=trace.trace_id,
            start_ns=int(trace.stamps_ns[0]),
            end_ns=int(trace.stamps_ns[-1]),
            is_open=self.is_open,
            sample_count=len(trace),
            keypoints=keypoints,
        )


def prompt_of(keypoints: Keypoints, size_hw: tuple[int, int], limit: int) -> TracePrompt:
    """Keypoints in pixels of a frame of ``size_hw`` -> what the model reads, at most ``limit``.

    Points that could not be followed are left out while any other remains. Too many points are
    thinned evenly by order, ends kept.
    """
    keep = np.flatnonzero(~keypoints.lost)
    if keep.size == 0:
        keep = np.arange(len(keypoints.lost))
    if keep.size > limit:
        keep = keep[np.unique(np.linspace(0, keep.size - 1, limit).round().astype(np.int64))]
    height, width = size_hw
    points = (keypoints.xy_px[keep] + 0.5) / np.array([width, height], dtype=np.float64)
    stamps_ns = keypoints.stamp_ns[keep]
    pen_up = np.add.reduceat(keypoints.pen_up, keep).astype(np.bool_) if keep.size else keep > 0
    return TracePrompt(
        points=dequantise(quantise(points)),
        dt_s=np.diff(stamps_ns, prepend=stamps_ns[:1]) / 1e9,
        pen_up=pen_up,
    )
