"""Frames from a video file, a camera of this computer (V4L2) or a network stream (RTSP and others).

Decoding is PyAV's. Files give stamps from their pts; live sources stamps of a clock of this
computer (see ``live_clock``) and, after a failure, connect again with growing pauses.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Frame, Image
from tracevlm_ros.ingest.live_clock import Clock, StreamClock, wall_clock

_SCHEMES = ("rtsp://", "rtsps://", "http://", "https://", "tcp://", "udp://", "rtmp://", "srt://")
_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConfig:
    """``timeout_s`` without a frame counts as a failure; after the first failure the pause is
    ``pause_s``, doubled up to ``longest_pause_s``; ``max_failures`` in a row end the stream (0:
    never). ``size`` (WxH, or empty for the device's own), ``rate_hz`` (0: own) and ``pixel_format``
    (FFmpeg's name of a pixel format or codec, empty: own) ask a camera. Most USB cameras give large
    pictures at 30 Hz as ``mjpeg`` alone: USB 2 has no room for them unpacked."""

    timeout_s: float = 5.0
    pause_s: float = 0.5
    longest_pause_s: float = 10.0
    max_failures: int = 0
    size: str = ""
    rate_hz: float = 0.0
    pixel_format: str = ""

    def __post_init__(self) -> None:
        require_range("timeout_s", self.timeout_s, 0.1, 600.0)
        require_range("pause_s", self.pause_s, 0.0, 60.0)
        require_range("longest_pause_s", self.longest_pause_s, self.pause_s, 3600.0)
        require_range("max_failures", self.max_failures, 0, 1_000_000)
        require_range("rate_hz", self.rate_hz, 0.0, 1000.0)


def is_live(source: str) -> bool:
    """Whether ``source`` names a camera or a network address rather than a file."""
    return source.startswith(("/dev/video", *_SCHEMES))


def read_video(path: str | Path, start_ns: int = 0, frame_id: str = "camera") -> Iterator[Frame]:
    """Frames of a file; ``start_ns`` is the stamp of pts 0. Rotation marks are obeyed.

    Raises InputError for what is no video, and where damaged data ends it early.
    """
    if not Path(path).is_file():
        raise InputError(f"video {path} does not exist; check the path")
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container, str(path))
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            for picture in container.decode(stream):
                pts_ns = _pts_ns(picture)
                stamp = start_ns + (round(count * _NS / rate) if pts_ns is None else pts_ns)
                count += 1
                yield Frame(stamp, _rgb(picture), frame_id)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"video {path} cannot be read past frame {count}: {error}; "
            "check it with ffprobe, or convert it to H.264 in MP4"
        ) from error


class LiveVideo:
    """Frames of a camera (``/dev/video0``) or an address, as they arrive.

    ``state`` is ``connecting``, ``receiving`` or ``failed: why``. ``drops`` counts failures by
    reason: ``video_stream_ended``, ``video_silent``, ``video_connection_failed``, and pictures of
    MJPEG that came cut off or damaged and are left out: ``video_picture_damaged``. ``name`` is the
    source without the password that its address may hold. ``stop()`` may be called from any thread
    and ends ``frames`` at the next frame or within ``timeout_s``. ``clock`` gives the stamps' time
    base: ``live_clock.wall_clock()`` (the default) or ``time.monotonic_ns``.
    """

    def __init__(
        self,
        source: str,
        config: LiveConfig | None = None,
        clock: Clock | None = None,
        frame_id: str = "camera",
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        if not is_live(source):
            raise InputError(
                f"'{source}' is no live source; give /dev/videoN or an address that begins with "
                f"{', '.join(_SCHEMES)}"
            )
        self.source = source
        self.name = re.sub(r"//[^/]*@", "//", source)
        self.state = "connecting"
        self.config = config or LiveConfig()
        self.drops = Drops()
        self._clock = clock or wall_clock()
        self._frame_id = frame_id
        self._on_failure = on_failure
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def frames(self) -> Iterator[Frame]:
        """Frames until ``stop``. Connects again after failures, as the config says; a camera that
        is not there yet is one of them.

        Raises InputError after ``max_failures`` in a row.
        """
        failures = 0
        while not self._stopped.is_set():
            waiting_since_s = time.monotonic()
            try:
                for frame in self._connection():
                    failures, self.state = 0, "receiving"
                    yield frame
                    waiting_since_s = time.monotonic()
                    if self._stopped.is_set():
                        return
                reason, why = "video_stream_ended", "the stream ended"
            except (av.error.FFmpegError, OSError) as error:
                reason, why = "video_connection_failed", str(error).replace(self.source, self.name)
            if self._stopped.is_set():
                return
            if time.monotonic() - waiting_since_s >= self.config.timeout_s:
                # FFmpeg calls it an immediate exit, invalid data or the end
                reason, why = "video_silent", f"nothing came for {self.config.timeout_s:g} s"
            failures += 1
            self.drops[reason] += 1
            self._report(why, failures)
            self._stopped.wait(self.pause_after(failures))

    def pause_after(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        doubled = self.config.pause_s * 2.0 ** min(failures - 1, 30)
        return min(self.config.longest_pause_s, doubled)

    def _connection(self) -> Iterator[Frame]:
        """Frames of one connection; its stamps start afresh."""
        self._require_device()
        stamps = StreamClock()
        form, options = _open_options(self.source, self.config)
        timeout = self.config.timeout_s
        with av.open(
            self.source, format=form, options=options, timeout=(timeout, timeout)
        ) as container:
            stream = _video_stream(container, self.source)
            for picture in self._pictures(container, stream):
                arrival = self._clock()
                yield Frame(
                    stamps.stamp_ns(_pts_ns(picture), arrival), _rgb(picture), self._frame_id
                )

    def _pictures(self, container: Any, stream: Any) -> Iterator[Any]:
        """Each picture of MJPEG stands alone: of a damaged one no other suffers, and the decoder
        would fill it with grey."""
        if stream.codec_context.name != "mjpeg":
            yield from container.decode(stream)
            return
        stream.codec_context.options = {"err_detect": "explode"}
        told = False
        for packet in container.demux(stream):
            pictures = _decoded(packet)
            if pictures is None:
                self.drops["video_picture_damaged"] += 1
                if not told and self._on_failure is not None:
                    self._on_failure(
                        f"{self.name}: pictures come cut off or damaged; see the cable"
                    )
                told = True
            yield from pictures or ()

    def _require_device(self) -> None:
        if self.source.startswith("/dev/") and not Path(self.source).exists():
            there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
            raise FileNotFoundError(f"there is no such camera; cameras here: {there or 'none'}")

    def _report(self, why: str, failures: int) -> None:
        self.state = f"failed: {why}"
        if self._on_failure is not None:
            self._on_failure(f"{self.name}: {why} (failure {failures} in a row)")
        if failures == self.config.max_failures:
            raise InputError(
                f"video source {self.name} failed {failures} times in a row, the last time by: "
                f"{why}; check the address, the cable and the permissions"
            )


def _open_options(source: str, config: LiveConfig) -> tuple[str | None, dict[str, str]]:
    """Container format and FFmpeg options for low delay."""
    if source.startswith("/dev/"):
        options = {}
        if config.size:
            options["video_size"] = config.size
        if config.rate_hz:
            options["framerate"] = f"{config.rate_hz:g}"
        if config.pixel_format:
            options["input_format"] = config.pixel_format
        return "v4l2", options
    options = {"flags": "low_delay"}
    if source.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    return None, options


def _decoded(packet: Any) -> list[Any] | None:
    """None where the packet's data is damaged."""
    try:
        return list(packet.decode())
    except av.error.InvalidDataError:
        return None


def _video_stream(container: Any, source: str) -> Any:
    if not container.streams.video:
        raise InputError(f"{source} holds no video stream; give a file or address with a picture")
    return container.streams.video[0]


def _pts_ns(picture: Any) -> int | None:
    """The time of a picture in its stream, exact."""
    if picture.pts is None or picture.time_base is None:
        return None
    base = picture.time_base
    return int(picture.pts) * int(base.numerator) * _NS // int(base.denominator)


def _rgb(picture: Any) -> Image:
    """uint8 (H, W, 3), upright: phones mark a turn instead of turning the pixels."""
    image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
    quarter_turns = round(getattr(picture, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
