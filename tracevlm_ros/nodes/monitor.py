"""Tell captions and diagnostics of a running graph as JSON lines on standard output.

For programs that want to follow a graph without ROS: one object a line, ``{"caption": {...}}`` or
``{"diagnostics": {"input": {"message": ..., "level": ..., <key>: <value>}, ...}}``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from tracevlm_msgs.msg import Caption
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.spin import StopRequest, run_node


class Monitor(Node):  # type: ignore[misc]
    """Subscribes to ``captions`` (relative) and ``/diagnostics`` (of gaze_caption nodes)."""

    def __init__(self, _stop: StopRequest, **node_options: Any) -> None:
        super().__init__("monitor", **node_options)
        self.create_subscription(Caption, "captions", self._on_caption, qos.latched(32))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_status, qos.reliable(10))

    def _on_caption(self, message: Caption) -> None:
        _say({"caption": caption_fields(message)})

    def _on_status(self, message: DiagnosticArray) -> None:
        prefix = f"{self.get_namespace().strip('/')}/gaze_caption: ".lstrip("/")
        parts = {}
        for status in message.status:
            if status.name.startswith(prefix):
                values = {pair.key: pair.value for pair in status.values}
                level = int.from_bytes(status.level, "little")
                parts[status.name.removeprefix(prefix)] = {
                    "message": status.message,
                    "level": level,
                    **values,
                }
        if parts:
            _say({"diagnostics": parts})


def caption_fields(message: Caption) -> dict[str, Any]:
    """What is worth printing of a caption; stamps in nanoseconds, the region in pixels."""
    region = message.region
    return {
        "trace_id": message.trace_id,
        "stamp_ns": convert.ns_of(message.header.stamp),
        "frame_id": message.header.frame_id,
        "text": message.text,
        "score": round(message.score, 4),
        "is_final": message.is_final,
        "trace_is_open": message.trace_is_open,
        "region_xywh_px": [region.x_offset, region.y_offset, region.width, region.height],
        "question": message.question,
        "model_id": message.model_id,
    }


def _say(record: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(Monitor, argv)


if __name__ == "__main__":
    sys.exit(main())
