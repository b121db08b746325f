"""A subscriber of masks in a process of its own, for ``tracevlm bench node``.

The parameter ``log`` names a file for the stamps of the masks and the times of their arrival
(JSON, ``time.monotonic``), written when the process ends.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Image

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.spin import StopRequest, run_node


class BenchListener(Node):  # type: ignore[misc]
    """Takes every mask and looks at its stamp only."""

    def __init__(self, _stop: StopRequest, **node_options: Any) -> None:
        super().__init__("bench_listener", **node_options)
        self._log = self.declare_parameter("log", "").value
        if not self._log:
            raise InputError("the parameter 'log' is empty; name a file")
        self._stamps_ns: list[int] = []
        self._arrived_s: list[float] = []
        self.create_subscription(Image, "masks", self._on_mask, qos.reliable(10))

    def _on_mask(self, message: Image) -> None:
        self._arrived_s.append(time.monotonic())
        self._stamps_ns.append(convert.ns_of(message.header.stamp))

    def close(self) -> None:
        """Write the log."""
        log = {"stamp_ns": self._stamps_ns, "arrived_s": self._arrived_s}
        Path(self._log).write_text(json.dumps(log), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(BenchListener, argv)


if __name__ == "__main__":
    sys.exit(main())
