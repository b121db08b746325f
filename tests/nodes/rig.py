"""What stands round a gaze_caption node in a test: camera, tracker, listener, strangers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from tests.graph.tiny_bag import FRAME_NS, GAZE_NS, START_NS, picture
from tests.nodes.conftest import Ros
from tracevlm_msgs.msg import Caption, GazeSample
from tracevlm_ros.core.types import GazeSample as Sample
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.gaze_caption import GazeCaption


def make_node(ros: Ros, namespace: str = "test", **parameters: Any) -> GazeCaption:
    overrides = [
        Parameter(name, value=value) for name, value in {"model": "fake", **parameters}.items()
    ]
    return ros.add(GazeCaption(namespace=namespace, parameter_overrides=overrides))


class Rig:
    """A camera, a tracker and a listener round the node of a namespace."""

    gaze_type: type = GazeSample

    def __init__(self, ros: Ros, namespace: str = "test") -> None:
        self.ros = ros
        self.name = f"/{namespace}/gaze_caption"
        self.frame_id = "scene"
        self.node: Node = ros.add(Node("rig", namespace=namespace))
        self.images = self.node.create_publisher(Image, "image", qos.reliable(10))
        self.gaze = self.node.create_publisher(self.gaze_type, "gaze", qos.reliable(100))
        self.camera_info = self.node.create_publisher(CameraInfo, "camera_info", qos.reliable(10))
        self.captions: list[Caption] = []
        self.masks: list[Image] = []
        self.statuses: dict[str, Any] = {}
        self.node.create_subscription(Caption, "captions", self.captions.append, qos.latched(100))
        self.node.create_subscription(Image, "masks", self.masks.append, qos.reliable(1000))
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name, _, part = status.name.rpartition(": ")
            if name == self.name.lstrip("/"):
                self.statuses[part] = status

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._call(ChangeState, "change_state", request).success)

    def state(self) -> int:
        return int(self._call(GetState, "get_state", GetState.Request()).current_state.id)

    def set_parameter(self, name: str, value: Any) -> Any:
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self._call(SetParameters, "set_parameters", request).results[0]

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        return self.ros.call(self.node, kind, f"{self.name}/{service}", request)

    def activate(self) -> None:
        """Configure, activate, and wait until both inputs are matched."""
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.ros.until(self.images.get_subscription_count, "the image subscription")
        self.ros.until(self.gaze.get_subscription_count, "the gaze subscription")
        self.ros.until(lambda: self.node.count_publishers("masks"), "the masks publisher")

    def send_gaze(self, stamp_ns: int, x: float = 85.0, y: float = 60.0) -> None:
        self.gaze.publish(convert.gaze_message(Sample(stamp_ns, x, y), self.frame_id, "test"))

    def send_focal(self, focal_px: float, size_hw: tuple[int, int] = (0, 0)) -> None:
        """A CameraInfo with this k[0], of images of ``size_hw``; by default it tells no size."""
        header = convert.header_of(START_NS, "scene")
        message = CameraInfo(header=header, height=size_hw[0], width=size_hw[1])
        message.k[0] = focal_px
        self.camera_info.publish(message)

    def send_image(self, index: int) -> int:
        stamp_ns = START_NS + index * FRAME_NS
        header = convert.header_of(stamp_ns, self.frame_id)
        self.images.publish(convert.image_message(picture(index), "rgb8", header))
        return stamp_ns

    def look(self, first: int, count: int, x: float = 85.0) -> list[int]:
        """Gaze that rests on one place, by default the square, during ``count`` frames; the
        frames' stamps. Each frame is awaited, so that none is dropped."""
        stamps = []
        for index in range(first, first + count):
            before = len(self.masks)
            for part in range(FRAME_NS // GAZE_NS + 2):
                self.send_gaze(START_NS + index * FRAME_NS + (part - 5) * GAZE_NS + index, x)
            stamps.append(self.send_image(index))
            self.ros.until(lambda before=before: len(self.masks) > before, f"mask {index}")
        return stamps

    def attention(self) -> dict[str, float]:
        """Dwell and gaps of the newest traces, in seconds, as diagnostics tell them."""
        status = self.statuses.get("attention")
        return {} if status is None else {pair.key: float(pair.value) for pair in status.values}

    def until_mismatch(self) -> Any:
        """The input status once it tells of a peer that does not fit."""
        self.ros.until(lambda: "mismatch_0" in str(self.statuses.get("input")), "the mismatch")
        return self.statuses["input"]

    def drops(self) -> dict[str, int]:
        status = self.statuses.get("drops")
        return {} if status is None else {pair.key: int(pair.value) for pair in status.values}

    def until_dropped(self, reason: str, count: int = 1) -> None:
        self.ros.until(lambda: self.drops().get(reason, 0) >= count, f"{count} drops as {reason}")


@contextlib.contextmanager
def stranger() -> Iterator[Node]:
    """A node with a DDS participant of its own, as another process would have: a participant
    refuses two types on one topic."""
    context = Context()
    rclpy.init(args=[], context=context)
    node = Node("stranger", namespace="test", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def stamps_of(messages: list[Any]) -> list[int]:
    return [convert.ns_of(message.header.stamp) for message in messages]


def trace_ids(masks: list[Image]) -> set[int]:
    """All ids in the pixels of ``masks``."""
    found = [np.frombuffer(mask.data, np.uint16) for mask in masks]
    return set(np.unique(np.concatenate(found)).tolist()) - {0}
