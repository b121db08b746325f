"""Publish a video file with its gaze recording, or a camera or stream, as topics.

A file ends the process after its last frame. Stamps are of this computer's clock: a file looks as
if it happened now. A camera or stream goes on until stopped and connects again after failures; its
gaze comes from a tracker's node.
"""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs.msg import GazeSample as GazeMessage
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.ingest.live_clock import wall_clock
from tracevlm_ros.ingest.video import LiveConfig, LiveVideo, is_live
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.driver_report import DriverReport, DriverState
from tracevlm_ros.nodes.file_source import Event, FileSource
from tracevlm_ros.nodes.listeners import wait_for_listeners
from tracevlm_ros.nodes.pace import Pace
from tracevlm_ros.nodes.painter import jpeg_of
from tracevlm_ros.nodes.params import NodeParameters, load_schema
from tracevlm_ros.nodes.spin import StopRequest, run_node

SCHEMA = Path(__file__).with_name("sources.yaml")
_WAITING, _PLAYING = "waiting for subscribers", "playing"
_LEVELS = {
    _WAITING: DiagnosticStatus.WARN,
    _PLAYING: DiagnosticStatus.OK,
    "connecting": DiagnosticStatus.WARN,
    "receiving": DiagnosticStatus.OK,
}
_START_S = 0.2
"""From the first subscriber to the first frame: stamps lie ahead of all that is published."""


class Sources(Node):  # type: ignore[misc]
    """Reads and publishes in a thread of its own."""

    def __init__(self, stop: StopRequest, **node_options: Any) -> None:
        super().__init__("sources", **node_options)
        self._stop = stop
        self.parameters = NodeParameters(self, load_schema(SCHEMA))
        self._is_live = is_live(self.parameters["video"])
        self._require_readable()
        self._is_jpeg = self.parameters["transport"] == "compressed"
        msg_type, topic = (
            (CompressedImage, "image/compressed") if self._is_jpeg else (Image, "image")
        )
        self._voices = {topic: self._voice(msg_type, topic, 10)}
        self._image = self._voices[topic]
        if self.parameters["gaze"]:
            self._voices["gaze"] = self._voice(GazeMessage, "gaze", 100)
        self.published = 0
        self._live = self._camera() if self._is_live else None
        self._file_state = _WAITING
        self._report = DriverReport(self, "image", own_words=("video_",))
        self._report.every_second(self.state)
        self._thread = threading.Thread(target=self._run, name="sources", daemon=True)
        self._thread.start()

    def _require_readable(self) -> None:
        video, gaze = self.parameters["video"], self.parameters["gaze"]
        if not video:
            raise InputError("the parameter 'video' is empty; name a file, a camera or an address")
        if self._is_live and gaze:
            raise InputError(
                f"'{video}' is live, the recording {gaze} is not; start a tracker's node instead"
            )
        if not self._is_live and not Path(video).is_file():
            raise InputError(f"video {video} does not exist; check the path")

    def _voice(self, msg_type: Any, topic: str, depth: int) -> Any:
        return self.create_publisher(
            msg_type, topic, qos.reliable(depth), qos_overriding_options=qos.overridable()
        )

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._live is not None:
            self._live.stop()
        self._thread.join()

    def state(self) -> DriverState:
        """What diagnostics show."""
        text = self._file_state if self._live is None else self._live.state
        return DriverState(
            level=_LEVELS.get(text, DiagnosticStatus.ERROR),
            text=text,
            source=self.parameters["video"] if self._live is None else self._live.name,
            drops=Drops() if self._live is None else Drops(self._live.drops),
        )

    def _camera(self) -> LiveVideo:
        values = self.parameters
        config = LiveConfig(
            timeout_s=values["timeout_s"],
            size=values["camera_size"],
            rate_hz=values["camera_rate_hz"],
            pixel_format=values["camera_format"],
            max_failures=values["max_failures"],
        )
        return LiveVideo(
            values["video"],
            config,
            wall_clock(),
            values["frame_id"],
            on_failure=self.get_logger().warning,
        )

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._live is not None:
                self._play_live(self._live)
            else:
                self._play_file()
            self.get_logger().info(f"published {self.published} frames")
            self._stop.set()
        except TraceVLMError as error:
            self.get_logger().error(str(error))
            self._stop.fail()

    def _play_live(self, live: LiveVideo) -> None:
        for frame in live.frames():
            if self._stop.is_set():
                return
            self._publish_frame(frame, frame.stamp_ns)

    def _play_file(self) -> None:
        values = self.parameters
        source = FileSource(
            video=Path(values["video"]),
            gaze=Path(values["gaze"]) if values["gaze"] else None,
            is_video_time=values["gaze_clock"] == "video",
            gaze_offset_ns=int(values["gaze_offset_ms"] * 1e6),
            frame_id=values["frame_id"],
        )
        silent = wait_for_listeners(self._voices, self._voices, values["wait_s"], self._stop)
        if silent and not self._stop.is_set():
            self.get_logger().warning(
                f"nobody listens to {', '.join(silent)}; playing all the same"
            )
        self._file_state = _PLAYING
        pace = Pace()
        start_ns = int(self.get_clock().now().nanoseconds + _START_S * 1e9)
        pace.begin(start_ns - int(_START_S * 1e9))
        while not self._stop.is_set():
            start_ns = self._play_once(source, pace, start_ns)
            if not values["loop"]:
                return

    def _play_once(self, source: FileSource, pace: Pace, start_ns: int) -> int:
        """Play from ``start_ns`` on; returns where the next round begins."""
        last_ns, before_ns = start_ns, start_ns
        for event in source.events():
            stamp_ns = start_ns + int(event.at_ns / self.parameters["rate"])
            while (due_s := pace.seconds_until(stamp_ns)) > 0:
                if self._stop.wait(min(due_s, 0.1)):
                    return stamp_ns
            self._publish(event, stamp_ns)
            if isinstance(event.item, Frame):
                before_ns, last_ns = last_ns, stamp_ns
        return last_ns + max(last_ns - before_ns, 1_000_000)

    def _publish(self, event: Event, stamp_ns: int) -> None:
        if isinstance(event.item, Frame):
            self._publish_frame(event.item, stamp_ns)
        else:
            self._publish_sample(event.item, stamp_ns)

    def _publish_sample(self, sample: GazeSample, stamp_ns: int) -> None:
        stamped = sample._replace(stamp_ns=stamp_ns)
        message = convert.gaze_message(stamped, self.parameters["frame_id"], "recording")
        self._voices["gaze"].publish(message)

    def _publish_frame(self, frame: Frame, stamp_ns: int) -> None:
        header = convert.header_of(stamp_ns, frame.frame_id)
        if self._is_jpeg:
            jpeg = jpeg_of(frame.image_rgb, self.parameters["jpeg_quality"])
            self._image.publish(convert.jpeg_message(jpeg, header))
        else:
            self._image.publish(convert.image_message(frame.image_rgb, "rgb8", header))
        self.published += 1
        self._report.sent()


def main(argv: Sequence[str] | None = None) -> int:
    return run_node(Sources, argv)


if __name__ == "__main__":
    sys.exit(main())
