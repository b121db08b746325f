"""Overlay pictures as an MP4 that browsers and phones play (H.264, yuv420p)."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.stream import VideoStream

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Image

_TICKS_PER_S = 90_000


class OverlayVideo:
    """Frames keep their own times. The first frame sets the size, rounded down to even numbers;
    frames of another size and stamps that do not rise are counted in ``skipped`` and left out."""

    def __init__(self, path: Path, crf: int = 23) -> None:
        self.path = path
        self.skipped = 0
        self._crf = crf
        self._start_ns = 0
        self._last_tick = -1
        self._stream: VideoStream | None = None
        try:
            path.touch()
        except OSError as error:
            raise InputError(f"video {path} cannot be written: {error}; check the path") from error
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})

    def write(self, picture_rgb: Image, stamp_ns: int) -> None:
        height, width = (side - side % 2 for side in picture_rgb.shape[:2])
        if self._stream is None:
            self._stream = self._open_stream(width, height)
            self._start_ns = stamp_ns
        tick = (stamp_ns - self._start_ns) * _TICKS_PER_S // 1_000_000_000
        if tick <= self._last_tick or (width, height) != (self._stream.width, self._stream.height):
            self.skipped += 1
            return
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_rgb[:height, :width]))
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS_PER_S)
        self._container.mux(self._stream.encode(frame))
        self._last_tick = tick

    def close(self) -> None:
        """Write what the encoder still holds, and the index."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _open_stream(self, width: int, height: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, _TICKS_PER_S)
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        return stream

    def __enter__(self) -> "OverlayVideo":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
