"""How well the tracker follows points through video whose motion is known exactly."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.tracking import LOST, TRACKED, TraceTracker, TrackingConfig
from tracevlm_ros.core.types import BoolArray, FloatArray, Frame, Image
from tracevlm_ros.synthetic.warped_video import WarpedVideo

_TRACE = 1
_EDGE_PX = 5


class FrameResult(NamedTuple):
    """One frame of one video: K points, NaN errors where a point is outside or covered.

    ``error_px`` distance to the truth, ``plain_error_px`` that of plain chained OpenCV flow,
    ``status`` of the tracker, ``visible`` and ``newly_covered`` by the truth.
    """

    error_px: FloatArray
    plain_error_px: FloatArray
    status: NDArray[np.int8]
    visible: BoolArray
    newly_covered: BoolArray


class PlainFlow:
    """The baseline: OpenCV's Lucas-Kanade with its default settings, chained, nothing else."""

    def __init__(self, image_rgb: Image, points_px: FloatArray) -> None:
        self._grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
        self._points = points_px.astype(np.float32)

    def advance(self, image_rgb: Image) -> FloatArray:
        """Points (K, 2) in the next frame."""
        grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
        moved, _, _ = cv2.calcOpticalFlowPyrLK(
            self._grey, grey, self._points, self._points.copy(), winSize=(21, 21), maxLevel=3
        )
        self._grey, self._points = grey, np.asarray(moved, dtype=np.float32)
        return self._points.astype(np.float64)


def random_points(size_hw: tuple[int, int], count: int, seed: int) -> FloatArray:
    """Points (count, 2) anywhere in a frame but its outermost 30 pixels."""
    height, width = size_hw
    return np.random.default_rng(seed).uniform((30, 30), (width - 30, height - 30), (count, 2))


def follow_video(
    video: WarpedVideo, points_px: FloatArray, config: TrackingConfig | None = None
) -> list[FrameResult]:
    """Track ``points_px`` (K, 2) of frame 0, all keypoints of one trace, through ``video``."""
    first = video.frame(0)
    tracker, plain = TraceTracker(config), PlainFlow(first, points_px)
    tracker.advance(Frame(0, first))
    tracker.extend(_TRACE, points_px)
    tracker.set_keypoints(_TRACE, np.arange(len(points_px)))
    was_covered = video.covered(points_px, 0)
    results = []
    for index in range(1, video.frames):
        image = video.frame(index)
        tracker.advance(Frame(index, image))
        truth = video.truth(points_px, index)
        edge = np.array(video.size_hw[::-1]) - 1 - _EDGE_PX
        inside = np.all((truth >= _EDGE_PX) & (truth <= edge), axis=1)
        covered = video.covered(truth, index)
        visible = inside & ~covered
        error, plain_error = (
            np.where(visible, np.linalg.norm(points - truth, axis=1), np.nan)
            for points in (tracker.positions(_TRACE), plain.advance(image))
        )
        results.append(
            FrameResult(
                error,
                plain_error,
                tracker.status(_TRACE),
                visible,
                covered & ~was_covered & inside,
            )
        )
        was_covered = covered
    return results


def summarize_errors(videos: Sequence[Sequence[FrameResult]]) -> dict[str, float]:
    """Errors of all visible points, pooled: per frame, and after the last frame (drift)."""
    every = _pool([result.error_px for video in videos for result in video])
    # A step's error: the first frame's, where nothing has added up yet.
    step = _pool([video[0].error_px for video in videos])
    last = _pool([video[-1].error_px for video in videos])
    plain_step = _pool([video[0].plain_error_px for video in videos])
    plain = _pool([video[-1].plain_error_px for video in videos])
    return {
        "step_median_px": float(np.median(step)),
        "step_p95_px": float(np.percentile(step, 95)),
        "any_frame_median_px": float(np.median(every)),
        "any_frame_p95_px": float(np.percentile(every, 95)),
        "drift_median_px": float(np.median(last)),
        "drift_p95_px": float(np.percentile(last, 95)),
        "plain_step_median_px": float(np.median(plain_step)),
        "plain_step_p95_px": float(np.percentile(plain_step, 95)),
        "plain_drift_median_px": float(np.median(plain)),
        "plain_drift_p95_px": float(np.percentile(plain, 95)),
    }


def summarize_coverage(videos: Sequence[Sequence[FrameResult]]) -> dict[str, float]:
    """Shares of points in the frame in which they get covered, and of visible points.

    ``rejected`` is LOST, ``kept`` is not LOST; ``not_tracked`` and ``tracked`` take the narrower
    view that only TRACKED counts as seen.
    """
    covered = np.concatenate([r.status[r.newly_covered] for video in videos for r in video])
    visible = np.concatenate([r.status[r.visible] for video in videos for r in video])
    return {
        "newly_covered_points": float(len(covered)),
        "newly_covered_rejected": float(np.mean(covered == LOST)),
        "newly_covered_not_tracked": float(np.mean(covered != TRACKED)),
        "visible_kept": float(np.mean(visible != LOST)),
        "visible_tracked": float(np.mean(visible == TRACKED)),
    }


def time_tracker(
    images_rgb: Sequence[Image], points_px: FloatArray, config: TrackingConfig | None = None
) -> dict[str, float]:
    """Milliseconds of ``TraceTracker.advance`` per image after the first two: by the clock, and of
    processor time, which other programs on the machine disturb less.
    """
    tracker = TraceTracker(config)
    tracker.advance(Frame(0, images_rgb[0]))
    tracker.extend(_TRACE, points_px)
    tracker.set_keypoints(_TRACE, np.arange(len(points_px)))
    rows = []
    for index, image in enumerate(images_rgb[1:], start=1):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        tracker.advance(Frame(index, image))
        rows.append((time.perf_counter() - begin, time.process_time() - cpu_begin))
    wall, cpu = 1e3 * np.array(rows[1:]).T
    return {
        "frames": float(len(wall)),
        "median_ms": float(np.median(wall)),
        "p95_ms": float(np.percentile(wall, 95)),
        "cpu_median_ms": float(np.median(cpu)),
        "cpu_p95_ms": float(np.percentile(cpu, 95)),
        "cpu_min_ms": float(cpu.min()),
    }


def _pool(errors: Sequence[FloatArray]) -> FloatArray:
    pooled = np.concatenate(errors)
    return pooled[np.isfinite(pooled)]
