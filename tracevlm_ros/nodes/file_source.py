"""A video file and a gaze recording as one sequence in time, stamped as if it happened now."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.ingest.gaze_recordings import open_gaze
from tracevlm_ros.ingest.video import read_video


class Event(NamedTuple):
    """A frame or a gaze sample, ``at_ns`` after the first frame."""

    at_ns: int
    item: Frame | GazeSample


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """``gaze`` may be None. ``is_video_time``: the gaze's stamps count from the first frame;
    otherwise its first sample belongs to the first frame."""

    video: Path
    gaze: Path | None = None
    is_video_time: bool = False
    gaze_offset_ns: int = 0
    frame_id: str = "camera"

    def events(self) -> Iterator[Event]:
        """In order of time; a sample comes before the frame of the same instant.

        Items keep their own stamps. Raises InputError for a video without frames and for what
        the readers refuse.
        """
        frames = read_video(self.video, frame_id=self.frame_id)
        first = next(frames, None)
        if first is None:
            raise InputError(f"video {self.video} holds no frames; check it with ffprobe")
        streams = [self._frames(first, frames)]
        if self.gaze is not None:
            height, width = first.image_rgb.shape[:2]
            streams.insert(0, self._samples(self.gaze, (height, width)))
        return heapq.merge(*streams, key=lambda event: event.at_ns)

    @staticmethod
    def _frames(first: Frame, rest: Iterator[Frame]) -> Iterator[Event]:
        yield Event(0, first)
        for frame in rest:
            yield Event(frame.stamp_ns - first.stamp_ns, frame)

    def _samples(self, path: Path, size_hw: tuple[int, int]) -> Iterator[Event]:
        start_ns = 0 if self.is_video_time else None
        for sample in open_gaze(path).samples(size_hw):
            if start_ns is None:
                start_ns = sample.stamp_ns
            yield Event(sample.stamp_ns - start_ns + self.gaze_offset_ns, sample)
