"""A trace that is being shown: its keypoints in the current frame and its mask prompt."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.attention.trace import Trace
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.tokens import dequantise, quantise
from tracevlm_ros.core.tracking import PointStatus
from tracevlm_ros.core.types import FloatArray, IntArray, Keypoints, TraceSnapshot


class PendingEmbeddings(NamedTuple):
    """Segmentation embeddings (6, D) that take effect at the first frame from ``due_ns`` on."""

    described_ns: int
    due_ns: int
    seg_embeddings: NDArray[np.float32]


@dataclass(slots=True)
class LiveTrace:
    """One trace between its first sample and the end of its linger time.

    ``described_count`` is the number of samples at the last description, ``described_ns`` the
    frame of it; ``is_told`` is true once nothing more will be asked about the trace.
    """

    trace: Trace
    closed_ns: int = 0
    described_ns: int = 0
    described_count: int = 0
    is_told: bool = False
    seg_embeddings: NDArray[np.float32] | None = None
    _seg_described_ns: int = 0
    _pending: list[PendingEmbeddings] = field(default_factory=list)

    @property
    def trace_id(self) -> int:
        return self.trace.trace_id

    def expect(self, pending: PendingEmbeddings) -> None:
        """Embeddings that ``adopt_due`` will take when their time has come."""
        self._pending.append(pending)

    def adopt_due(self, stamp_ns: int) -> bool:
        """Take the embeddings of the newest described frame that are due at ``stamp_ns``.

        True when the trace has other embeddings than before.
        """
        due = [pending for pending in self._pending if pending.due_ns <= stamp_ns]
        if not due:
            return False
        self._pending = [pending for pending in self._pending if pending.due_ns > stamp_ns]
        newest = max(due, key=lambda pending: pending.described_ns)
        if newest.described_ns < self._seg_described_ns:
            return False
        self.seg_embeddings = newest.seg_embeddings
        self._seg_described_ns = newest.described_ns
        return True

    def snapshot(
        self, indices: IntArray, positions_px: FloatArray, status: NDArray[np.int8]
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
            start_ns=trace.start_ns,
            end_ns=trace.end_ns,
            is_open=trace.is_open,
            sample_count=len(trace),
            keypoints=keypoints,
        )


def prompt_of(keypoints: Keypoints, size_hw: tuple[int, int], limit: int) -> TracePrompt:
    """Keypoints in pixels of a frame of ``size_hw`` -> what the model reads, at most ``limit``.

    Points that could not be followed are left out while any other remains. Too many points are
    thinned evenly by order, ends kept; a pen-up before a left-out point moves to the next one.
    """
    keep = np.flatnonzero(~keypoints.lost)
    if keep.size == 0:
        keep = np.arange(len(keypoints.lost))
    if keep.size > limit:
        keep = keep[np.unique(np.linspace(0, keep.size - 1, limit).round().astype(np.int64))]
    height, width = size_hw
    points = (keypoints.xy_px[keep] + 0.5) / np.array([width, height], dtype=np.float64)
    stamps_ns = keypoints.stamp_ns[keep]
    lifts = np.cumsum(keypoints.pen_up)[keep]
    return TracePrompt(
        points=dequantise(quantise(points)),
        dt_s=np.diff(stamps_ns, prepend=stamps_ns[:1]) / 1e9,
        pen_up=np.diff(lifts, prepend=lifts[:1]) > 0,
    )
