"""Ends when gaze_caption has nothing left to do: for scripts and launch files after a bag's end.

Reads the diagnostics of the node ``gaze_caption`` in its own namespace; the work is done when two
reports running say that nothing is pending. Without any report for ``timeout_s`` it fails.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from tracevlm_ros.nodes import qos
from tracevlm_ros.nodes.spin import StopRequest, run_node

IDLE_REPORTS = 2
_LOOK_S = 0.5


class AwaitIdle(Node):  # type: ignore[misc]
    """``timeout_s`` (parameter, 30) bounds the wait for the next report, not for the work."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("await_idle", **node_options)
        self._stop = stop
        self._timeout_s = float(self.declare_parameter("timeout_s", 30.0).value)
        self._status = f"{self.get_namespace().strip('/')}/gaze_caption: input".lstrip("/")
        self._idle = 0
        self._heard_s = time.monotonic()
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_report, qos.reliable(10))
        self.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name != self._status:
                continue
            self._heard_s = time.monotonic()
            pending = next((pair.value for pair in status.values if pair.key == "pending"), "")
            self._idle = self._idle + 1 if pending == "0" else 0
        if self._idle >= IDLE_REPORTS:
            self._stop.set()

    def _look(self) -> None:
        if time.monotonic() - self._heard_s > self._timeout_s:
            self.get_logger().error(
                f"no diagnostics of {self._status.partition(':')[0]} for {self._timeout_s:.0f} s"
            )
            self._stop.fail()


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(AwaitIdle, argv)


if __name__ == "__main__":
    sys.exit(main())
