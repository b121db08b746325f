"""The scene video of a gaze recording, with its frames on the clock of the gaze.

| beside the video | whose | frames are stamped by |
|---|---|---|
| ``<video>.time`` | Neon | its int64 nanoseconds, one a frame |
| ``<video>_timestamps.npy`` | Pupil Core (``world``) | its float64 seconds, one a frame |
| live data with ``vts`` as the gaze | Tobii Glasses 2 | the video's own times, from there on |
| nothing | | the video's own times; the first frame is at the first reading |
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, IntArray
from tracevlm_ros.ingest import tobii
from tracevlm_ros.ingest.video import read_video


class SceneVideo(NamedTuple):
    """``tied_by`` says how frames and gaze came to one clock; there is at least one frame."""

    size_hw: tuple[int, int]
    tied_by: str
    frames: Iterator[Frame]


def open_scene(video: Path, gaze: Path, first_gaze_ns: int) -> SceneVideo:
    """Frames in order of their stamps. Raises InputError for a video without frames, and for times
    that do not belong to it; a broken file is told when it is reached."""
    stamps, tied_by = _recorded_stamps(video)
    start_ns = 0
    if stamps is None and tobii.is_tobii_live_data(gaze):
        start_ns, tied_by = tobii.video_start_ns(gaze), "the live data's vts marks"
    elif stamps is None:
        start_ns, tied_by = first_gaze_ns, "assumption: the first reading is of the first frame"
    frames = read_video(video, start_ns)
    if stamps is not None:
        frames = _restamped(frames, stamps, video)
    first = next(frames, None)
    if first is None:
        raise InputError(f"video {video} holds no frames; check it with ffprobe")
    height, width = first.image_rgb.shape[:2]
    return SceneVideo((height, width), tied_by, itertools.chain([first], frames))


def _recorded_stamps(video: Path) -> tuple[IntArray | None, str]:
    neon = video.with_suffix(".time")
    if neon.is_file():
        return np.fromfile(neon, "<i8").astype(np.int64), neon.name
    pupil = video.with_name(f"{video.stem}_timestamps.npy")
    if pupil.is_file():
        seconds = np.load(pupil, allow_pickle=False).astype(np.float64)
        return np.rint(seconds * 1e9).astype(np.int64), pupil.name
    return None, ""


def _restamped(frames: Iterator[Frame], stamps: IntArray, video: Path) -> Iterator[Frame]:
    for count, frame in enumerate(frames):
        if count == len(stamps):
            raise InputError(
                f"{video} has more frames than the {len(stamps)} times beside it; copy the "
                "recording again"
            )
        yield frame._replace(stamp_ns=int(stamps[count]))
