"""The driver nodes in this process, with real DDS and real peers."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from tests.ingest.test_pupil_core_live import Peer
from tests.nodes.conftest import Ros
from tracevlm_msgs.msg import GazeSample, Word
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import GazeSample as Sample
from tracevlm_ros.core.types import PenState
from tracevlm_ros.ingest.pointer import Pointer
from tracevlm_ros.nodes import convert, pointer_window, qos
from tracevlm_ros.nodes.gaze_driver import GazeDriver
from tracevlm_ros.nodes.pointer import PointerNode
from tracevlm_ros.nodes.spin import StopRequest
from tracevlm_ros.nodes.words import Words


class Listener:
    """Hears what the drivers publish in the namespace ``test``."""

    def __init__(self, ros: Ros) -> None:
        self.ros = ros
        self.node: Node = ros.add(Node("listener", namespace="test"))
        self.gaze: list[GazeSample] = []
        self.words: list[Word] = []
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(GazeSample, "gaze", self.gaze.append, qos.reliable(1000))
        self.node.create_subscription(Word, "words", self.words.append, qos.reliable(100))
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name] = status

    def values(self, name: str) -> dict[str, str]:
        status = self.statuses.get(name)
        return {} if status is None else {pair.key: pair.value for pair in status.values}


@pytest.fixture
def listener(ros: Ros) -> Listener:
    return Listener(ros)


Make = Callable[..., Any]


@pytest.fixture
def make(ros: Ros) -> Make:
    def make_node(kind: Any, **parameters: Any) -> Any:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        stop = StopRequest()
        node = ros.add(kind(stop, namespace="test", parameter_overrides=overrides))
        node.stop_request = stop
        return node

    return make_node


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.kill()


def test_pupil_gaze_goes_out_normalised_and_stamped(
    listener: Listener, make: Make, peer: Peer
) -> None:
    make(GazeDriver, address=f"127.0.0.1:{peer.port}", frame_id="scene")
    listener.ros.until(lambda: len(listener.gaze) >= 20, "gaze")
    message = listener.gaze[-1]
    assert message.unit == GazeSample.UNIT_NORMALISED
    assert (message.source, message.header.frame_id) == ("pupil_core", "scene")
    assert (message.y, message.confidence, message.pen) == (0.75, 0.875, -1)
    measured_ns = round(message.x * 100e9)
    error_ns = (convert.ns_of(message.header.stamp) - measured_ns) % 100_000_000_000
    assert min(error_ns, 100_000_000_000 - error_ns) < 20_000_000


def test_diagnostics_of_the_driver_tell_rate_clock_and_drops(
    listener: Listener, make: Make, peer: Peer
) -> None:
    make(GazeDriver, address=f"127.0.0.1:{peer.port}")
    listener.ros.until(lambda: listener.gaze, "gaze")
    peer.tell("send c1")
    name = "test/gaze_driver: drops"
    listener.ros.until(lambda: listener.values(name).get("gaze_malformed") == "1", "the drop")
    device = "test/gaze_driver: device"
    listener.ros.until(lambda: float(listener.values(device)["gaze_hz"]) > 50, "the rate")
    listener.ros.until(lambda: "clock_offset_ms" in listener.values(device), "the clock")
    values = listener.values(device)
    assert values["clock_measured_by"] == "request and response"
    assert abs(float(values["clock_drift_ppm"])) < 500
    assert str(peer.port) in values["source"]
    assert listener.statuses[device].level == DiagnosticStatus.OK
    peer.kill()
    listener.ros.until(
        lambda: listener.statuses[device].level == DiagnosticStatus.ERROR, "the failure"
    )
    assert listener.statuses[device].message.startswith("failed: ")


def test_a_tracker_that_is_not_there_ends_the_node_when_told_to(make: Make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = make(GazeDriver, device="tobii_glasses3", address=f"127.0.0.1:{port}", max_failures=1)
    assert node.stop_request.wait(20.0)
    assert node.stop_request.status == 1


def test_a_device_that_is_not_known_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="one of pupil_core"):
        make(GazeDriver, device="eyelink")


def test_words_of_a_tcp_client_go_out(listener: Listener, make: Make) -> None:
    node = make(Words, port=0, frame_id="microphone")
    lines = [
        {"now": 10.0},
        {"word": "red", "start": 9.0, "end": 9.25},
        {"word": "cup", "start": 9.5},
        {"word": "cup", "start": 9.5, "end": 9.75},
    ]
    listener.ros.until(lambda: listener.node.count_publishers("words"), "the publisher")
    listener.ros.until(node._voice.get_subscription_count, "the match")
    with socket.create_connection(("127.0.0.1", node.lines.port)) as client:
        client.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        listener.ros.until(lambda: len(listener.words) == 2, "two words")
    red, cup = listener.words
    assert (red.text, cup.text) == ("red", "cup")
    assert convert.ns_of(cup.start) - convert.ns_of(red.start) == 500_000_000
    assert convert.ns_of(red.end) - convert.ns_of(red.start) == 250_000_000
    arrival_ns = convert.ns_of(cup.header.stamp)
    assert cup.header.frame_id == "microphone"
    assert abs(arrival_ns - convert.ns_of(cup.end) - 250_000_000) < 100_000_000
    name = "test/words: drops"
    listener.ros.until(lambda: listener.values(name).get("word_key_missing") == "1", "the drop")


def test_lines_that_are_no_words_are_told_in_the_log_once_for_each_reason(
    ros_domain: int,
) -> None:
    done = subprocess.Popen(
        [sys.executable, "-m", "tracevlm_ros.nodes.words", "--ros-args", "-p", "input:=stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert done.stdin is not None
    assert done.stderr is not None
    limit = threading.Timer(60.0, done.kill)
    limit.start()
    with done, contextlib.closing(done.stdin):
        done.stdin.write(b'no object\n{"word": "cup", "start": 1.0}\n{"text": "cup"}\n')
        done.stdin.flush()
        said = ""
        while "word_key_missing" not in said:
            line = done.stderr.readline()
            assert line, said
            said += line.decode()
    limit.cancel()
    assert "dropped as line_malformed; later ones are counted in /diagnostics" in said


def test_words_from_standard_input_end_with_it(ros_domain: int) -> None:
    command = [sys.executable, "-m", "tracevlm_ros.nodes.words"]
    done = subprocess.run(
        [*command, "--ros-args", "-p", "input:=stdin"],
        input=b'{"word": "cup", "start": 1.0, "end": 1.5}\n',
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"standard input" in done.stderr + done.stdout


def test_a_pointer_over_tcp_draws_and_is_repeated_while_it_rests(
    listener: Listener, make: Make
) -> None:
    node = make(PointerNode, input="tcp", port=0, unit="normalised", rate_hz=100.0)
    listener.ros.until(lambda: listener.gaze, "a first sample")
    assert isnan(listener.gaze[0].x)
    assert (listener.gaze[0].confidence, listener.gaze[0].pen) == (0.0, GazeSample.PEN_UP)
    with socket.create_connection(("127.0.0.1", node.lines.port)) as client:
        client.sendall(b'{"x": 0.25, "y": 0.5, "button": 1}\n{"x": 9}\n')
        down = GazeSample.PEN_DOWN
        listener.ros.until(lambda: [m.pen for m in listener.gaze].count(down) >= 5, "repeats")
    message = listener.gaze[-1]
    assert (message.x, message.y, message.confidence) == (0.25, 0.5, 1.0)
    assert (message.unit, message.source) == (GazeSample.UNIT_NORMALISED, "pointer")
    stamps = [convert.ns_of(m.header.stamp) for m in listener.gaze]
    assert stamps == sorted(stamps)
    drops = "test/pointer: drops"
    listener.ros.until(lambda: listener.values(drops).get("pointer_key_missing") == "1", "the drop")


def test_points_of_another_node_touch_and_then_let_go(listener: Listener, make: Make) -> None:
    make(PointerNode, input="point", hold_ms=50.0)
    points = listener.node.create_publisher(PointStamped, "point", qos.reliable(10))
    listener.ros.until(points.get_subscription_count, "the pointer")
    message = PointStamped()
    message.point.x, message.point.y = 12.0, 34.0
    points.publish(message)
    touched = listener.ros.until(
        lambda: [m for m in listener.gaze if m.pen == GazeSample.PEN_DOWN], "the touch"
    )
    assert (touched[0].x, touched[0].y) == (12.0, 34.0)
    assert touched[0].unit == GazeSample.UNIT_PIXELS
    listener.ros.until(
        lambda: listener.gaze[-1].pen == GazeSample.PEN_UP and listener.gaze[-1].x == 12.0,
        "letting go",
    )


def test_an_image_that_cannot_be_shown_is_counted_and_opens_no_window(
    listener: Listener, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointer_window, "require_display", lambda: None)
    node = make(PointerNode, input="window", show="image")
    images = listener.node.create_publisher(Image, "image", qos.reliable(10))
    listener.ros.until(images.get_subscription_count, "the window's subscription")
    images.publish(Image(encoding="32FC1", height=1, width=1, step=4))
    drops = "test/pointer: drops"
    listener.ros.until(lambda: listener.values(drops).get("image_not_shown") == "1", "the drop")
    assert not node._window.is_open


def test_the_mouse_draws_with_the_left_button_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer_window, "require_display", lambda: None)
    samples: list[Sample] = []
    window = pointer_window.PointerWindow("test", Pointer(), samples.append)
    held = cv2.EVENT_FLAG_LBUTTON
    window.on_mouse(cv2.EVENT_MOUSEMOVE, 1, 2, 0)
    window.on_mouse(cv2.EVENT_LBUTTONDOWN, 3, 4, held)
    window.on_mouse(cv2.EVENT_MOUSEMOVE, 5, 6, held)
    window.on_mouse(cv2.EVENT_RBUTTONDOWN, 5, 6, held)
    window.on_mouse(cv2.EVENT_LBUTTONUP, 7, 8, 0)
    window.on_mouse(cv2.EVENT_MOUSEMOVE, 9, 9, 0)
    assert [(s.x_px, s.y_px) for s in samples] == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 9)]
    up, down = PenState.UP, PenState.DOWN
    assert [s.pen for s in samples] == [up, down, down, up, up]


@pytest.mark.parametrize(
    "back_end, text", [("NONE", "without windows"), ("QT5", "there is no display")]
)
def test_a_window_that_cannot_be_opened_is_told_with_the_remedy(
    make: Make, monkeypatch: pytest.MonkeyPatch, back_end: str, text: str
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"\n  GUI:            {back_end}\n")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=text) as caught:
        make(PointerNode)
    assert "input:=tcp" in str(caught.value)


def test_every_parameter_of_the_drivers_is_described() -> None:
    from tracevlm_ros.nodes.params import load_schema

    folder = Path(pointer_window.__file__).parent
    for name in ("gaze_driver", "pointer", "words"):
        for spec in load_schema(folder / f"{name}.yaml"):
            assert len(spec.description) > 15, spec.name
