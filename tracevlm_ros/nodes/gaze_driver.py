"""Publish the gaze of a live tracker: Pupil Core, Neon, Tobii Pro Glasses 2 or 3.

    ros2 run tracevlm_ros gaze_driver --ros-args -p device:=pupil_core -p address:=192.168.1.5

Samples are normalised (0..1 of the scene image), so they fit its images at any size, and carry
stamps of this computer's clock. The node connects again after failures and says so.
"""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from tracevlm_msgs.msg import GazeSample as GazeMessage
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import TraceVLMError
from tracevlm_ros.ingest.gaze_devices import link_to
from tracevlm_ros.ingest.live_clock import wall_clock
from tracevlm_ros.ingest.live_device import DeviceConfig, LiveDevice
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.driver_report import DriverReport, DriverState
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("gaze_driver.yaml")


class GazeDriver(Node):  # type: ignore[misc]
    """Reads and publishes in a thread of its own."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("gaze_driver", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        values = self.parameters
        self._problems = Problems(self.get_logger().warning)
        self.device = LiveDevice(
            link_to(
                values["device"],
                values["address"],
                values["pupil_topic"],
                values["neon_transport"],
            ),
            DeviceConfig(
                silence_s=values["silence_s"],
                max_failures=values["max_failures"],
                queue_depth=values["queue_depth"],
            ),
            wall_clock(),
            on_event=lambda text: self._problems.say("device", text),
        )
        self._voice = self.create_publisher(
            GazeMessage, "gaze", qos.reliable(100), qos_overriding_options=qos.overridable()
        )
        self._report = DriverReport(self, "gaze", own_words=("device_",))
        self._report.every_second(self.state)
        self._thread = threading.Thread(target=self._run, name="gaze_driver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self.device.stop()
        self._thread.join()

    def state(self) -> DriverState:
        """What diagnostics show."""
        text = self.device.state
        levels = {"receiving": DiagnosticStatus.OK, "connecting": DiagnosticStatus.WARN}
        levels["connected"] = DiagnosticStatus.WARN
        return DriverState(
            level=levels.get(text, DiagnosticStatus.ERROR),
            text=text,
            source=self.device.link.name,
            clock=self.device.clock_report(),
            drops=Drops(self.device.drops),
        )

    def _run(self) -> None:
        frame_id, source = self.parameters["frame_id"], self.parameters["device"]
        try:
            for sample in self.device.samples():
                message = convert.gaze_message(sample, frame_id, source, is_normalised=True)
                self._voice.publish(message)
                self._report.sent()
        except TraceVLMError as error:
            self.get_logger().error(str(error))
            self._stop.fail()


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(GazeDriver, argv)


if __name__ == "__main__":
    sys.exit(main())
