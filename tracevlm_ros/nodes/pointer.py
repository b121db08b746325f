"""Publish a pointer as gaze: the mouse in a window, JSON lines, or points of another node.

``input`` says which:

``window``  shows ``image`` (or the overlay of gaze_caption) and follows the mouse in it; drawing is
            with the left button held. Ends with the window, Esc or q.
``tcp``     listens for programs that send ``{"x": 10, "y": 20, "button": 1}``, one a line
``stdin``   the same from standard input; ends with it
``point``   takes geometry_msgs/PointStamped on ``point``: down while points come
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PointStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs.msg import GazeSample as GazeMessage
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.json_lines import JsonLines, Record
from tracevlm_ros.ingest.live_device import BadMessage
from tracevlm_ros.ingest.pointer import Pointer, PointerConfig
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.driver_report import DriverReport, DriverState
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.pointer_window import PointerWindow
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("pointer.yaml")
_SHOWN: dict[str, tuple[Any, str]] = {
    "image": (Image, "image"),
    "compressed": (CompressedImage, "image/compressed"),
    "overlay": (CompressedImage, "overlay/compressed"),
}
_WINDOW_TURN_MS = 10


class PointerNode(Node):  # type: ignore[misc]
    """One input, chosen at start; publishes ``gaze``."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("pointer", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        values = self.parameters
        self._pointer = Pointer(PointerConfig(rate_hz=values["rate_hz"], hold_ms=values["hold_ms"]))
        self._drops = Drops()
        self._problems = Problems(self.get_logger().warning)
        self._is_ending = threading.Event()
        self._voice = self.create_publisher(
            GazeMessage, "gaze", qos.reliable(100), qos_overriding_options=qos.overridable()
        )
        self._report = DriverReport(self, "gaze", own_words=("image_",))
        self.lines: JsonLines | None = None
        self._thread = threading.Thread(target=self._start_input(), name="pointer", daemon=True)
        self._thread.start()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / values["rate_hz"], self._repeat, clock=steady)
        self._report.every_second(self.state)

    def _start_input(self) -> Callable[[], object]:
        """What the node's thread is to do."""
        kind = self.parameters["input"]
        self._is_normalised = kind != "window" and self.parameters["unit"] == "normalised"
        self.source = kind
        if kind == "window":
            self._newest: Any = None
            self._window = PointerWindow("tracevlm pointer", self._pointer, self._publish)
            msg_type, topic = _SHOWN[self.parameters["show"]]
            self.create_subscription(msg_type, topic, self._on_image, qos.sensor(1))
            self.get_logger().info(f"the window opens with the first picture on '{topic}'")
            return self._run_window
        if kind == "point":
            self.create_subscription(PointStamped, "point", self._on_point, qos.sensor(100))
            return self._is_ending.wait
        is_tcp = kind == "tcp"
        self.lines = JsonLines(
            self.parameters["port"] if is_tcp else None,
            self.parameters["host"],
            on_event=self.get_logger().info,
        )
        if is_tcp:
            self.source = f"tcp://{self.parameters['host']}:{self.lines.port}"
        self.get_logger().info(f"pointer events are read from {self.source}")
        return self._run_lines

    def close(self) -> None:
        """End the thread."""
        self._is_ending.set()
        if self.lines is not None:
            self.lines.stop()
        self._thread.join()

    def state(self) -> DriverState:
        """What diagnostics show."""
        drops = Drops(self._drops)
        if self.lines is not None:
            drops.update(Drops(self.lines.drops))
        return DriverState(
            level=DiagnosticStatus.OK, text="reading", source=self.source, drops=drops
        )

    def _publish(self, sample: GazeSample) -> None:
        message = convert.gaze_message(
            sample,
            self.parameters["frame_id"],
            "pointer",
            is_normalised=self._is_normalised,
        )
        self._voice.publish(message)
        self._report.sent()

    def _repeat(self) -> None:
        sample = self._pointer.repeat()
        if sample is not None:
            self._publish(sample)

    # --- inputs ------------------------------------------------------------------------------

    def _on_point(self, message: PointStamped) -> None:
        self._publish(self._pointer.point(message.point.x, message.point.y))

    def _on_image(self, message: Any) -> None:
        self._newest = message

    def _run_lines(self) -> None:
        assert self.lines is not None
        for record in self.lines.records():
            self._take(record)
        self._stop.set()

    def _take(self, record: Record) -> None:
        try:
            self._publish(self._pointer.take(record.values))
        except BadMessage as error:
            self._drops[error.reason] += 1

    def _run_window(self) -> None:
        try:
            while not self._is_ending.is_set() and self._window.pump(_WINDOW_TURN_MS):
                self._show_newest()
            self._stop.set()
        except TraceVLMError as error:
            self.get_logger().error(str(error))
            self._stop.fail()
        finally:
            self._window.close()

    def _show_newest(self) -> None:
        message, self._newest = self._newest, None
        if message is None:
            if not self._window.is_open:
                time.sleep(_WINDOW_TURN_MS / 1000)
            return
        try:
            image_rgb = convert.frame_of(message).image_rgb
        except InputError as error:
            self._drops["image_not_shown"] += 1
            self._problems.say("image", str(error))
            return
        self._window.show(image_rgb)


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(PointerNode, argv)


if __name__ == "__main__":
    sys.exit(main())
