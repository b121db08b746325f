import contextlib
import io
import os
import socket
import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.ingest.rtsp_server import RtspServer
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.ingest import video
from tracevlm_ros.ingest.video import LiveConfig, LiveVideo, is_live, read_video

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[3] / "shared" / "data"))


def encode(target, container, count=10, rate=20, first_pts=0, codec="mpeg4", cut=()):
    """A video whose frame ``i`` is of grey level 20 i modulo 256, its top left red.

    Of the frames ``cut`` the second half of the bytes is missing.
    """
    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options={"g": "1", "qscale": "2"})
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(count):
            image = np.full((48, 64, 3), 20 * index % 256, np.uint8)
            image[:16, :16] = (250, 0, 0)
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture.pts, picture.time_base = first_pts + index, Fraction(1, rate)
            output.mux([_cut(p) if p.pts in cut else p for p in stream.encode(picture)])
        output.mux(stream.encode())


def _cut(packet):
    half = av.Packet(bytes(packet)[: packet.size // 2])
    half.pts, half.dts, half.time_base = packet.pts, packet.dts, packet.time_base
    half.stream = packet.stream
    return half


def test_frames_of_a_file_have_exact_stamps_and_rgb(tmp_path):
    encode(str(tmp_path / "a.mp4"), "mp4")
    frames = list(read_video(tmp_path / "a.mp4", start_ns=1_000, frame_id="scene"))
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == [1_000 + index * 50_000_000 for index in range(10)]
    assert frames[5].image_rgb.shape == (48, 64, 3)
    assert abs(int(frames[5].image_rgb[40, 50, 0]) - 100) < 8
    red = frames[5].image_rgb[8, 8].astype(int)
    assert red[0] > 200
    assert red[2] < 60
    assert frames[0].frame_id == "scene"


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((0, 1, -1, 0), (0, -1)), ((-1, 0, 0, -1), (-1, -1)), ((0, -1, 1, 0), (-1, 0))],
)
def test_pictures_marked_as_turned_come_upright(tmp_path, matrix, corner):
    """The track header of an MP4 says how to turn: (0, 1, -1, 0) is a quarter clockwise."""
    encode(str(tmp_path / "a.mp4"), "mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 0x10000 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 0x40000000)
    (tmp_path / "turned.mp4").write_bytes(data)
    image = next(read_video(tmp_path / "turned.mp4")).image_rgb
    quarter = matrix[0] == 0
    assert image.shape == ((64, 48, 3) if quarter else (48, 64, 3))
    row, column = (8 if place == 0 else -8 for place in corner)
    assert image[row, column, 0] > 200


def test_what_is_no_video_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        next(read_video(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(InputError, match=r"text.mp4 cannot be read past frame 0.*ffprobe"):
        next(read_video(tmp_path / "text.mp4"))


def test_a_file_without_a_picture_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        output.mux(stream.encode(sound))
        output.mux(stream.encode())
    with pytest.raises(InputError, match="holds no video stream"):
        next(read_video(path))


def test_sources_are_told_apart():
    assert is_live("/dev/video0")
    assert is_live("rtsp://camera/stream")
    assert not is_live("clip.mp4")
    with pytest.raises(InputError, match=r"'clip.mp4' is no live source"):
        LiveVideo("clip.mp4")


def test_a_missing_camera_is_told_and_tried_again_as_often_as_allowed():
    told = []
    config = LiveConfig(pause_s=0.0, max_failures=3)
    live = LiveVideo("/dev/video987", config, on_failure=told.append)
    with pytest.raises(InputError, match=r"/dev/video987 failed 3 times.*cameras here"):
        next(live.frames())
    assert live.drops == {"video_connection_failed": 3}
    assert told[0].startswith("/dev/video987: there is no such camera; cameras here: ")


class Camera:
    """Stands for ``av.open`` of a V4L2 device: fails as often as told, then plays a file."""

    def __init__(self, video, failures):
        self.asked = []
        self._open = av.open
        self._video = video
        self._failures = failures

    def open(self, source, **options):
        self.asked.append((source, options))
        if len(self.asked) <= self._failures:
            raise av.error.OSError(16, "Device or resource busy", source)
        return self._open(self._video)


@pytest.fixture
def camera(tmp_path, monkeypatch):
    encode(str(tmp_path / "a.mp4"), "mp4")
    found = Camera(str(tmp_path / "a.mp4"), failures=2)
    monkeypatch.setattr(video.av, "open", found.open)
    return found


def test_a_camera_is_asked_for_size_rate_and_pixel_format(camera, monkeypatch):
    monkeypatch.setattr(LiveVideo, "_require_device", lambda self: None)
    config = LiveConfig(pause_s=0.0, size="1280x720", rate_hz=30.0, pixel_format="mjpeg")
    frames = LiveVideo("/dev/video0", config).frames()
    assert next(frames).image_rgb.shape == (48, 64, 3)
    frames.close()
    source, options = camera.asked[-1]
    assert (source, options["format"]) == ("/dev/video0", "v4l2")
    assert options["options"] == {
        "video_size": "1280x720",
        "framerate": "30",
        "input_format": "mjpeg",
    }
    assert options["timeout"] == (5.0, 5.0)


def test_a_camera_gives_what_it_has_unless_it_is_asked(camera, monkeypatch):
    monkeypatch.setattr(LiveVideo, "_require_device", lambda self: None)
    next(LiveVideo("/dev/video0", LiveConfig(pause_s=0.0)).frames())
    assert camera.asked[-1][1]["options"] == {}


def test_pictures_of_mjpeg_that_come_cut_off_are_left_out_and_counted(tmp_path, monkeypatch):
    path = str(tmp_path / "a.mkv")
    encode(path, "matroska", codec="mjpeg", cut=(3, 6))
    monkeypatch.setattr(video.av, "open", Camera(path, failures=0).open)
    monkeypatch.setattr(LiveVideo, "_require_device", lambda self: None)
    told = []
    live = LiveVideo("/dev/video0", LiveConfig(pause_s=0.0), on_failure=told.append)
    frames = live.frames()
    levels = [int(next(frames).image_rgb[40, 50, 0]) for _ in range(8)]
    assert np.abs(np.subtract(levels, [0, 20, 40, 80, 100, 140, 160, 180])).max() < 8
    assert live.drops == {"video_picture_damaged": 2}
    assert told == ["/dev/video0: pictures come cut off or damaged; see the cable"]
    frames.close()


def test_a_camera_that_is_plugged_in_late_is_found(camera, monkeypatch):
    """Missing, then busy twice, then there."""
    there = iter([False, True, True, True])
    exists = Path.exists
    monkeypatch.setattr(
        Path, "exists", lambda path: next(there) if path.name == "video0" else exists(path)
    )
    live = LiveVideo("/dev/video0", LiveConfig(pause_s=0.0, max_failures=4))
    frames = live.frames()
    assert next(frames).image_rgb.shape == (48, 64, 3)
    frames.close()
    assert live.drops == {"video_connection_failed": 3}
    assert len(camera.asked) == 3


@pytest.fixture
def server():
    content = io.BytesIO()
    encode(content, "mpegts", count=12, first_pts=100, codec="mpeg2video")
    running = RtspServer(content.getvalue())
    yield running
    running.close()


def test_a_live_stream_connects_again_after_it_ends_and_counts_it(server):
    told = []
    live = LiveVideo(server.address, LiveConfig(pause_s=0.01), on_failure=told.append)
    before = time.time_ns()
    frames = []
    for frame in live.frames():
        frames.append(frame)
        if len(frames) == 30:
            live.stop()
    assert len(frames) == 30
    assert server.clients == 3
    assert sum(live.drops.values()) == len(told) == 2
    assert server.address in told[0]
    assert all(before - 10**9 < frame.stamp_ns < time.time_ns() + 10**9 for frame in frames)
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))


def test_a_stream_that_stalls_in_the_middle_is_given_up_and_opened_again():
    content = io.BytesIO()
    encode(content, "mpegts", count=60, first_pts=100, codec="mpeg2video")
    told, arrivals = [], []
    config = LiveConfig(timeout_s=0.5, pause_s=0.01)
    with contextlib.closing(RtspServer(content.getvalue(), stalls=[1])) as stalling:
        live = LiveVideo(stalling.address, config, on_failure=told.append)
        for _frame in live.frames():
            arrivals.append(time.monotonic())
            if stalling.clients == 2 and len(arrivals) > 60:
                live.stop()
        assert stalling.clients == 2
    gaps = np.diff(arrivals)
    assert 5 < int(np.argmax(gaps)) + 1 < 60  # the frames of the half that came
    assert 0.5 <= gaps.max() < 5.0
    assert live.drops == {"video_silent": 1}
    assert told == [f"{stalling.address}: nothing came for 0.5 s (failure 1 in a row)"]


def test_stamps_follow_the_given_clock(server):
    live = LiveVideo(server.address, clock=lambda: 5_000_000_000)
    frames = live.frames()
    assert next(frames).stamp_ns == 5_000_000_000
    frames.close()


def test_an_address_that_never_answers_fails_after_the_allowed_attempts():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = []
    address = f"rtsp://user:se@cret@127.0.0.1:{port}/1"
    config = LiveConfig(pause_s=0.0, max_failures=3)
    live = LiveVideo(address, config, on_failure=told.append)
    with pytest.raises(InputError, match=r"failed 3 times in a row.*check the address") as caught:
        next(live.frames())
    assert live.drops["video_connection_failed"] == 3
    assert live.state.startswith("failed: ")
    assert live.name == f"rtsp://127.0.0.1:{port}/1"
    assert "cret" not in " ".join([*told, live.state, str(caught.value)])


def test_a_source_that_falls_silent_counts_as_failed():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/1"
        live = LiveVideo(address, LiveConfig(timeout_s=0.2, pause_s=0.0, max_failures=2))
        with pytest.raises(InputError, match=r"failed 2 times in a row.*nothing came for 0.2 s"):
            next(live.frames())
    assert live.drops == {"video_silent": 2}


def test_pauses_double_up_to_the_longest():
    live = LiveVideo("rtsp://camera/1", LiveConfig(pause_s=0.5, longest_pause_s=3.0))
    assert [live.pause_after(n) for n in (1, 2, 3, 4, 90)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    with pytest.raises(ConfigError, match="longest_pause_s is 1"):
        LiveConfig(pause_s=2.0, longest_pause_s=1.0)


@pytest.mark.parametrize(
    ("path", "count", "step_ms"),
    [
        ("gaze/tobii_glasses_video/worldCamera.mp4", 50, 40.0),
        ("vidln_dev/videos/OVIS_train/5d24e4ea.mp4", 35, 125.0),
    ],
)
def test_real_videos_are_read_whole(path, count, step_ms):
    if not (DATA / path).exists():
        pytest.skip(f"real videos are absent ({DATA / path}); set TRACEVLM_DATA to their folder")
    stamps = [frame.stamp_ns for frame in read_video(DATA / path)]
    assert len(stamps) == count
    assert np.allclose(np.diff(stamps) / 1e6, step_ms, atol=0.01)
