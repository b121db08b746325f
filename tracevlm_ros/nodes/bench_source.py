"""A camera or a tracker at an exact pace, for ``tracevlm bench node``.

The camera shows a synthetic clip forth and back, the gaze rests and jumps. All messages are made
before the first is due. The log tells when each was due and when it was handed to the middleware
(``time.monotonic``, which all processes of a machine share), so that a frame can be timed across
processes.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs.msg import GazeSample as GazeMessage
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.listeners import wait_for_listeners
from tracevlm_ros.nodes.painter import jpeg_of
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.spin import StopRequest, run_node
from tracevlm_ros.synthetic.clip import Clip, ClipConfig

SCHEMA = Path(__file__).with_name("bench_source.yaml")
_CLIP_FRAMES = 30
_CLIP_HZ = 30.0
_DWELL_S = 0.9
_NOISE_PX = 0.7
_JPEG_QUALITY = 80
_TOPICS = {
    "raw": (Image, "image", 5),
    "compressed": (CompressedImage, "image/compressed", 5),
    "gaze": (GazeMessage, "gaze", 100),
}


class BenchSource(Node):  # type: ignore[misc]
    """Publishes best effort in a thread of its own; ends the process after the last message."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("bench_source", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        msg_type, self._topic, depth = _TOPICS[self.parameters["sends"]]
        self._voice = self.create_publisher(msg_type, self._topic, qos.sensor(depth))
        self._due_s: list[float] = []
        self._handed_s: list[float] = []
        self._stamps_ns: list[int] = []
        self._thread = threading.Thread(target=self._run, name="bench_source", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and write the log."""
        self._thread.join()
        if self.parameters["log"]:
            log = {
                "stamp_ns": self._stamps_ns,
                "due_s": self._due_s,
                "handed_s": self._handed_s,
            }
            Path(self.parameters["log"]).write_text(json.dumps(log), encoding="utf-8")

    def _run(self) -> None:
        messages = self._messages()
        if wait_for_listeners(
            {self._topic: self._voice}, [], self.parameters["wait_s"], self._stop
        ):
            self.get_logger().error(f"nobody listens to {self._topic}")
            self._stop.fail()
            return
        rate_hz = self.parameters["rate_hz"]
        count = round(self.parameters["seconds"] * rate_hz)
        start_s = time.monotonic()
        for index in range(count):
            due_s = start_s + index / rate_hz
            if self._stop.wait(max(0.0, due_s - time.monotonic())):
                return
            self._due_s.append(due_s)
            self._hand_over(messages[index % len(messages)])
        self._stop.set()

    def _hand_over(self, message: Any) -> None:
        delay_ns = round(self.parameters["delay_ms"] * 1e6)
        stamp_ns = int(self.get_clock().now().nanoseconds) - delay_ns
        message.header = convert.header_of(stamp_ns, "camera")
        self._stamps_ns.append(stamp_ns)
        self._handed_s.append(time.monotonic())
        self._voice.publish(message)

    def _messages(self) -> list[Any]:
        if self.parameters["sends"] == "gaze":
            return self._looks()
        size_hw = (self.parameters["height"], self.parameters["width"])
        clip = Clip(
            ClipConfig(
                height=size_hw[0],
                width=size_hw[1],
                rate_hz=_CLIP_HZ,
                seconds=_CLIP_FRAMES / _CLIP_HZ,
            )
        )
        forth = [self._picture(frame.image_rgb) for frame in clip.frames()]
        return forth + forth[-2:0:-1]

    def _picture(self, image_rgb: Any) -> Image | CompressedImage:
        header = convert.header_of(0, "camera")
        if self.parameters["sends"] == "compressed":
            return convert.jpeg_message(jpeg_of(image_rgb, _JPEG_QUALITY), header)
        return convert.image_message(image_rgb, "rgb8", header)

    def _looks(self) -> list[Any]:
        """Gaze of some ten seconds: it rests ``_DWELL_S`` here, then there."""
        rng = np.random.default_rng(0)
        size_wh = np.array([self.parameters["width"], self.parameters["height"]])
        dwell = round(_DWELL_S * self.parameters["rate_hz"])
        places = rng.uniform(0.15, 0.85, (11, 2)) * size_wh
        noise = rng.normal(0.0, _NOISE_PX, (len(places) * dwell, 2))
        readings = np.repeat(places, dwell, axis=0) + noise
        return [
            convert.gaze_message(GazeSample(0, float(x), float(y)), "camera", "bench")
            for x, y in readings
        ]


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(BenchSource, argv)


if __name__ == "__main__":
    sys.exit(main())
