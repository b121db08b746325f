"""A generated video and gaze table as one sequence."""

from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.nodes.file_source import Event, FileSource


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five frames of 64x48 at 10 Hz."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            image = np.full((48, 64, 3), 40 * index, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def table(folder: Path, start_ms: float) -> Path:
    path = folder / "gaze.tsv"
    rows = [f"{start_ms + 25 * i:.3f}\t{0.5}\t{0.25}" for i in range(20)]
    path.write_text("timestamp\tnorm_pos_x\tnorm_pos_y\n" + "\n".join(rows) + "\n")
    return path


def times_ms(events: list[Event], kind: type) -> list[float]:
    return [event.at_ns / 1e6 for event in events if isinstance(event.item, kind)]


def test_the_first_sample_of_a_device_belongs_to_the_first_frame(
    video: Path, tmp_path: Path
) -> None:
    events = list(FileSource(video=video, gaze=table(tmp_path, 92_458.25)).events())
    assert times_ms(events, Frame) == [0.0, 100.0, 200.0, 300.0, 400.0]
    assert times_ms(events, GazeSample) == [25.0 * i for i in range(20)]
    assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)
    sample = next(e.item for e in events if isinstance(e.item, GazeSample))
    assert (sample.x_px, sample.y_px) == (31.5, 11.5)


def test_stamps_of_the_videos_own_time_stay_and_an_offset_shifts_them(
    video: Path, tmp_path: Path
) -> None:
    source = FileSource(
        video=video, gaze=table(tmp_path, 50.0), is_video_time=True, gaze_offset_ns=-30_000_000
    )
    assert times_ms(list(source.events()), GazeSample)[:2] == [20.0, 45.0]


def test_a_video_without_gaze_gives_its_frames(video: Path) -> None:
    events = list(FileSource(video=video).events())
    assert len(events) == 5
    assert all(isinstance(event.item, Frame) for event in events)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    with pytest.raises(InputError, match=r"notes\.mp4"):
        list(FileSource(video=path).events())
