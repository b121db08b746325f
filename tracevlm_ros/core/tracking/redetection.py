"""Finding the object of a lost trace again, by its look in the last frame where it was seen."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import within
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.flow import follow
from tracevlm_ros.core.tracking.local_motion import fit_local_motion
from tracevlm_ros.core.tracking.motion import PointStatus
from tracevlm_ros.core.tracking.patches import PatchStore
from tracevlm_ros.core.tracking.pictures import Pictures
from tracevlm_ros.core.tracking.trace_points import TracePoints
from tracevlm_ros.core.types import FloatArray, Image, IntArray

_MARGIN_PX = 6
_MIN_SIDE_PX = 16
_RENEW_EVERY = 10
_GOOD_SHARE = 0.7


class Memory(NamedTuple):
    """A trace as last seen well: all its points in the frame of ``pictures``, its patches'
    deformation, and ``box`` (x0, y0, x1, y1) round the followed ones in the thumbnail.
    """

    pictures: Pictures
    xy: FloatArray
    points: IntArray
    deformation: FloatArray
    box: tuple[int, int, int, int]


class Redetection:
    """Looks for one lost trace a frame, so that the cost stays bounded."""

    def __init__(self, config: TrackingConfig, patches: PatchStore) -> None:
        self._config = config
        self._patches = patches
        self._memories: dict[int, Memory] = {}
        self._age: dict[int, int] = {}
        self._turn = 0

    def forget(self, trace_id: int) -> None:
        self._memories.pop(trace_id, None)
        self._age.pop(trace_id, None)

    def remember(self, trace_id: int, trace: TracePoints, pictures: Pictures) -> None:
        """Keep how ``trace`` looks in ``pictures``, now and then while it is seen well."""
        self._age[trace_id] = self._age.get(trace_id, 0) + 1
        known = trace_id in self._memories
        if (known and self._age[trace_id] < _RENEW_EVERY) or trace.misses:
            return
        points = self._patches.followed(trace.slot, trace.keypoints)
        points = points[within(trace.xy[points], pictures.grey.shape)]
        if len(points) == 0:
            return
        seen = trace.status[points] == PointStatus.TRACKED
        if known and float(seen.mean()) < _GOOD_SHARE:
            return
        self._age[trace_id] = 0
        self._memories[trace_id] = Memory(
            pictures,
            trace.xy.copy(),
            points,
            self._patches.deformation[trace.slot[points]].copy(),
            _thumbnail_box(trace.xy[points], pictures),
        )

    def look(self, traces: Mapping[int, TracePoints], now: Pictures) -> None:
        """Try to find the next lost trace in ``now``; it moves there when its patches agree."""
        lost = [key for key, trace in traces.items() if trace.lost and key in self._memories]
        if not lost:
            return
        self._turn += 1
        trace_id = lost[self._turn % len(lost)]
        memory = self._memories[trace_id]
        shift = self._best_shift(memory, now.thumbnail)
        if shift is None:
            return
        ratio = np.array(memory.pictures.grey.shape) / np.array(memory.pictures.thumbnail.shape)
        self._try(traces[trace_id], memory, now, shift * ratio[::-1])

    def _best_shift(self, memory: Memory, thumbnail: Image) -> FloatArray | None:
        """Thumbnail pixels that the remembered box moved; None when nothing looks like it."""
        x0, y0, x1, y1 = memory.box
        look = memory.pictures.thumbnail[y0:y1, x0:x1]
        if memory.pictures.thumbnail.shape != thumbnail.shape or float(look.std()) < 1.0:
            return None
        scores = cv2.matchTemplate(thumbnail, look, cv2.TM_CCOEFF_NORMED)
        _, best, _, at = cv2.minMaxLoc(scores)
        if not best >= self._config.redetect_score:
            return None
        return np.array([at[0] - x0, at[1] - y0], dtype=np.float64)

    def _try(self, trace: TracePoints, memory: Memory, now: Pictures, shift: FloatArray) -> None:
        """Follow the remembered keypoints to ``now`` and believe it when enough patches agree."""
        config = self._config
        alive = np.isin(memory.points, self._patches.followed(trace.slot, trace.keypoints))
        points = memory.points[alive]
        if len(points) == 0 or memory.pictures.grey.shape != now.grey.shape:
            return
        start = memory.xy[points]
        flow = follow(
            memory.pictures.work,
            now.work,
            memory.pictures.to_work(start),
            now.to_work(start + shift),
            window_px=config.window_px,
            levels=config.levels,
        )
        slots = trace.slot[points]
        self._patches.deformation[slots] = memory.deformation[alive]
        gate = config.gate_px / float(now.scale.mean())
        aligned = self._patches.align(now.grey, slots, now.to_full(flow.xy), gate)
        good = flow.found & (aligned.score >= config.match_score)
        good &= within(aligned.xy, now.grey.shape)
        expected = start + shift
        local, agree = fit_local_motion(expected[good], aligned.xy[good], 2 * gate)
        if agree.sum() < max(2, config.recover_share * len(points)):
            return
        count = len(memory.xy)
        placed = memory.xy + shift
        trace.xy[:count] = placed + local.displacement(placed)
        trace.xy[points[good][agree]] = aligned.xy[good][agree]
        status = np.full(len(trace.keypoints), PointStatus.CARRIED, dtype=np.int8)
        status[np.searchsorted(trace.keypoints, points[good][agree])] = PointStatus.TRACKED
        trace.spread_status(status)
        trace.velocity = np.zeros(2)
        trace.lost, trace.misses = False, 0
        trace.settle_here()


def _thumbnail_box(points: FloatArray, pictures: Pictures) -> tuple[int, int, int, int]:
    height, width = pictures.thumbnail.shape
    ratio = np.array([width, height]) / np.array(pictures.grey.shape[::-1])
    low, high = points.min(axis=0) * ratio, points.max(axis=0) * ratio
    grow = np.maximum(_MARGIN_PX, (_MIN_SIDE_PX - (high - low)) / 2)
    x0, y0 = np.maximum(0, np.floor(low - grow)).astype(int)
    x1, y1 = np.minimum((width, height), np.ceil(high + grow) + 1).astype(int)
    return int(x0), int(y0), int(x1), int(y1)
