"""The sources node in this process, with real DDS, a real RTSP server and real files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from tests.ingest.rtsp_server import RtspServer
from tests.ingest.test_video import encode
from tests.nodes.conftest import Ros
from tests.nodes.rig import stamps_of
from tracevlm_msgs.msg import GazeSample
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.sources import Sources
from tracevlm_ros.nodes.spin import StopRequest


class Viewer:
    """Hears what the node publishes in the namespace ``test``."""

    def __init__(self, ros: Ros) -> None:
        self.ros = ros
        self.node: Node = ros.add(Node("viewer", namespace="test"))
        self.images: list[Image] = []
        self.jpegs: list[CompressedImage] = []
        self.gaze: list[GazeSample] = []
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )

    def listen(self, *topics: str) -> None:
        """To those of ``image``, ``image/compressed`` and ``gaze``."""
        kinds: dict[str, tuple[type, list[Any]]] = {
            "image": (Image, self.images),
            "image/compressed": (CompressedImage, self.jpegs),
            "gaze": (GazeSample, self.gaze),
        }
        for topic in topics:
            kind, heard = kinds[topic]
            self.node.create_subscription(kind, topic, heard.append, qos.reliable(1000))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name.rpartition("test/sources: ")[2]] = status

    def value(self, status: str, key: str) -> str:
        found = self.statuses.get(status, DiagnosticStatus())
        return {pair.key: pair.value for pair in found.values}.get(key, "")

    def is_in_state(self, level: bytes, start: str) -> bool:
        found = self.statuses.get("device")
        return found is not None and found.level == level and found.message.startswith(start)


@pytest.fixture
def viewer(ros: Ros) -> Viewer:
    return Viewer(ros)


Start = Callable[..., Any]


@pytest.fixture
def start(ros: Ros) -> Start:
    def start_node(**parameters: Any) -> Sources:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        stop = StopRequest()
        node = ros.add(Sources(stop, namespace="test", parameter_overrides=overrides))
        node.stop_request = stop
        return node

    return start_node


def stream(count: int) -> bytes:
    content = io.BytesIO()
    encode(content, "mpegts", count=count, first_pts=100, codec="mpeg2video")
    return content.getvalue()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames of 64x48 at 20 Hz."""
    encode(str(tmp_path / "clip.mp4"), "mp4")
    return tmp_path / "clip.mp4"


def test_a_stream_that_ends_and_returns_goes_on_and_is_counted(
    viewer: Viewer, start: Start
) -> None:
    viewer.listen("image")
    server = RtspServer(stream(12))
    node = start(video=server.address.replace("//", "//user:secret@"), frame_id="scene")
    viewer.ros.until(lambda: len(viewer.images) >= 12, "images")
    viewer.ros.until(lambda: viewer.value("drops", "video_stream_ended"), "the end of the stream")
    server.close()
    viewer.ros.until(lambda: viewer.is_in_state(DiagnosticStatus.ERROR, "failed: "), "the failure")
    viewer.ros.until(lambda: viewer.value("drops", "video_connection_failed"), "a refusal")
    before = len(viewer.images)
    server = RtspServer(stream(400), port=server.port)
    try:
        viewer.ros.until(lambda: len(viewer.images) >= before + 100, "images of the second server")
        viewer.ros.until(lambda: viewer.is_in_state(DiagnosticStatus.OK, "receiving"), "receiving")
    finally:
        node.close()
        server.close()
    stamps = stamps_of(viewer.images)
    assert stamps == sorted(set(stamps))
    image = viewer.images[0]
    assert (image.width, image.height, image.encoding) == (64, 48, "rgb8")
    assert image.header.frame_id == "scene"
    assert int(viewer.value("device", "image_total")) >= len(viewer.images) - 50
    assert viewer.statuses["device"].hardware_id == server.address


def test_a_stream_that_stalls_is_opened_again_after_timeout_s(viewer: Viewer, start: Start) -> None:
    viewer.listen("image")
    server = RtspServer(stream(60), stalls=[1])
    node = start(video=server.address, timeout_s=0.3)
    try:
        viewer.ros.until(lambda: server.clients >= 2, "the second connection")
        viewer.ros.until(lambda: viewer.value("drops", "video_silent") == "1", "the silence")
        viewer.ros.until(lambda: len(viewer.images) > 60, "images of the second connection")
    finally:
        node.close()
        server.close()


def test_a_source_that_never_comes_ends_the_node_when_told_to(start: Start) -> None:
    node = start(video="/dev/video987", max_failures=1)
    assert node.stop_request.wait(20.0)
    assert node.stop_request.status == 1


def test_a_file_is_played_again_at_its_rate_and_stamps_run_on(
    viewer: Viewer, start: Start, clip: Path, tmp_path: Path
) -> None:
    rows = [f"{25 * i}\t0.5\t0.25" for i in range(18)]
    table = "timestamp\tnorm_pos_x\tnorm_pos_y\n" + "\n".join(rows) + "\n"
    (tmp_path / "gaze.tsv").write_text(table)
    node = start(video=str(clip), gaze=str(tmp_path / "gaze.tsv"), rate=4.0, loop=True)
    viewer.ros.until(lambda: viewer.is_in_state(DiagnosticStatus.WARN, "waiting"), "waiting")
    assert node.published == 0
    viewer.listen("image", "gaze")
    viewer.ros.until(lambda: len(viewer.images) >= 30, "three rounds")
    viewer.ros.until(lambda: viewer.is_in_state(DiagnosticStatus.OK, "playing"), "playing")
    images, gaze = stamps_of(viewer.images[:30]), stamps_of(viewer.gaze)
    assert np.abs(np.diff(images) - 12_500_000).max() <= 1  # 50 ms at four times the speed
    assert gaze == sorted(gaze)
    assert gaze[1] - gaze[0] == 6_250_000
    assert images[0] == gaze[0]
    assert (viewer.gaze[0].x, viewer.gaze[0].y) == (31.5, 11.5)
    assert abs(convert.ns_of(viewer.node.get_clock().now().to_msg()) - images[-1]) < 60 * 10**9


def test_a_file_goes_out_as_jpegs_and_ends_the_node(
    viewer: Viewer, start: Start, clip: Path
) -> None:
    viewer.listen("image/compressed")
    node = start(video=str(clip), transport="compressed", rate=2.0)
    assert node.stop_request.wait(20.0)
    assert node.stop_request.status == 0
    viewer.ros.until(lambda: len(viewer.jpegs) == 10, "ten pictures")
    frame = convert.frame_of(viewer.jpegs[5])
    assert frame.image_rgb.shape == (48, 64, 3)
    assert abs(int(frame.image_rgb[40, 50, 0]) - 100) < 10
    assert frame.image_rgb[8, 8, 0] > 200
    assert viewer.images == []


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "'video' is empty"),
        ({"video": "none.mp4"}, "none.mp4 does not exist"),
        ({"video": "rtsp://camera/1", "gaze": "g.tsv"}, "start a tracker's node"),
    ],
)
def test_what_cannot_be_played_is_refused(
    start: Start, parameters: dict[str, str], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        start(**parameters)
