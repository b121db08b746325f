"""Accuracy and speed of keypoint tracking, against known motion and against plain optical flow.

Warped photos (procedural pictures where the data folder is absent) give the end-point error of
random points, the drift after 100 frames, how covered points are rejected, and the time per
1280x720 frame with 100 points on one core; the DAVIS clips give the share of keypoints that stay
on their object, beside plain chained OpenCV flow.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracevlm_ros.cli.goals import Goals, goal_lines, judged
from tracevlm_ros.core.tracking.flow import follow
from tracevlm_ros.core.types import FloatArray, Image
from tracevlm_ros.evaluation.tracking_accuracy import (
    FrameResult,
    follow_video,
    random_points,
    summarize_coverage,
    summarize_errors,
    time_tracker,
)
from tracevlm_ros.evaluation.tracking_on_clips import follow_clips, share_table
from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture

_POINTS = 100
_COVER_FRAMES = 45
_TIMED_FRAMES = 60
_CLIP_FRAMES = (10, 25, 50)
GOALS: Goals = {
    "step_median_px": ("at most", 0.1),
    "step_p95_px": ("at most", 1.0),
    "drift_median_px": ("at most", 0.5),
    "newly_covered_rejected": ("at least", 0.9),
    "visible_kept": ("at least", 0.9),
    "time_1280x720_cpu_median_ms": ("at most", 5.0),
    "clips_inside_over_plain": ("above", 0.0),
}
"""Drift is that after 100 frames; of the clips the mean share inside, less that of plain flow."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--videos", type=int, default=8, help="warped videos, default %(default)s")
    parser.add_argument("--frames", type=int, default=100, help="steps of drift, %(default)s")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("TRACEVLM_DATA", "../shared/data")),
        help="folder with instances_dev and davis_dev (default: TRACEVLM_DATA or ../shared/data)",
    )


def run(arguments: argparse.Namespace) -> int:
    cv2.setNumThreads(1)
    pictures, source = _pictures(arguments.data, 2 * arguments.videos)
    report: dict[str, Any] = {"opencv": cv2.__version__, "pictures": source, "points": _POINTS}
    report["accuracy"] = summarize_errors(_open_videos(pictures, arguments.frames))
    report["coverage"] = summarize_coverage(_covered_videos(pictures))
    report["time_1280x720"] = _time_large_video()
    davis = arguments.data / "davis_dev"
    report["clips"] = share_table(follow_clips(davis), _CLIP_FRAMES) if davis.is_dir() else []
    report["goals"] = judged(GOALS, _goal_figures(report))
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 0


def _goal_figures(report: dict[str, Any]) -> dict[str, float]:
    found = {
        **report["accuracy"],
        **report["coverage"],
        "time_1280x720_cpu_median_ms": report["time_1280x720"]["cpu_median_ms"],
    }
    if report["clips"]:
        mean = report["clips"][-1]
        found["clips_inside_over_plain"] = mean["inside_mean"] - mean["plain_mean"]
    return found


def _open_videos(pictures: Sequence[Image], frames: int) -> list[list[FrameResult]]:
    half = len(pictures) // 2
    videos = [
        WarpedVideo(picture=picture, seed=seed, frames=frames + 1)
        for seed, picture in enumerate(pictures[:half])
    ]
    return [
        follow_video(video, random_points(video.size_hw, _POINTS, video.seed)) for video in videos
    ]


def _covered_videos(pictures: Sequence[Image]) -> list[list[FrameResult]]:
    half = len(pictures) // 2
    videos = [
        WarpedVideo(picture=picture, cover=cover, seed=seed, frames=_COVER_FRAMES)
        for seed, (picture, cover) in enumerate(zip(pictures[:half], pictures[half:], strict=True))
    ]
    return [
        follow_video(video, random_points(video.size_hw, _POINTS, video.seed)) for video in videos
    ]


def _time_large_video() -> dict[str, float]:
    """Our time and, as a yardstick for the machine, that of OpenCV's flow there and back alone.

    The points are random among those that never leave the view: points outside cost nothing.
    """
    size_hw = (720, 1280)
    video = WarpedVideo(picture=textured_picture(size_hw, 1), size_hw=size_hw)
    points = _always_in_view(video, random_points(size_hw, 10 * _POINTS, 0))[:_POINTS]
    images = [video.frame(index) for index in range(_TIMED_FRAMES)]
    times = time_tracker(images, points)
    before, after = (
        np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for image in images[:2]
    )
    yardstick = []
    for _ in range(20):
        begin = time.process_time()
        there = follow(before, after, points, None, window_px=21, levels=3)
        follow(after, before, there.xy, None, window_px=21, levels=3)
        yardstick.append(1e3 * (time.process_time() - begin))
    return {**times, "opencv_there_and_back_cpu_median_ms": float(np.median(yardstick))}


def _always_in_view(video: WarpedVideo, points_px: FloatArray) -> FloatArray:
    """Those of ``points_px`` (N, 2) of frame 0 that stay in the picture in every timed frame."""
    limit = np.array(video.size_hw[::-1]) - 1
    places = np.stack([video.truth(points_px, index) for index in range(_TIMED_FRAMES)])
    stays: FloatArray = points_px[np.all((places >= 0) & (places <= limit), axis=(0, 2))]
    return stays


def _pictures(data: Path, count: int) -> tuple[list[Image], str]:
    """``count`` photos spread over ``instances_dev``, or as many procedural pictures."""
    paths = sorted((data / "instances_dev" / "images").glob("*.jpg"))
    if not paths:
        return [textured_picture((480, 640), seed) for seed in range(count)], "procedural"
    chosen = [paths[int(at)] for at in np.linspace(0, len(paths) - 1, count)]
    read = (cv2.imread(str(path), cv2.IMREAD_COLOR) for path in chosen)
    return [
        np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        for image in read
        if image is not None
    ], "instances_dev"


def _print(report: dict[str, Any]) -> None:
    print(f"OpenCV {report['opencv']}, pictures: {report['pictures']}, {report['points']} points")
    for part in ("accuracy", "coverage", "time_1280x720"):
        print(f"\n{part}")
        for name, value in report[part].items():
            print(f"  {name:<36} {value:.3f}")
    print("\ngoals")
    for line in goal_lines(report["goals"]):
        print(f"  {line}")
    if not report["clips"]:
        print("\nno davis_dev under --data: the clips are left out")
        return
    names = ("10", "25", "50", "end", "mean")
    print("\nshare of keypoints inside the mask, tracker / plain flow, after frames")
    print(f"  {'clip':<16}{'points':>7}" + "".join(f"{name:>12}" for name in names) + "    lost")
    for row in report["clips"]:
        cells = "".join(f"{row[f'inside_{n}']:>7.2f}/{row[f'plain_{n}']:.2f}" for n in names)
        print(f"  {row['clip']:<16}{row['keypoints']:>7}{cells}{row['lost_mean']:>8.2f}")
