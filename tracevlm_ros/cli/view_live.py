"""The node behind ``tracevlm view --live``: it subscribes to a running graph and shows it."""

import os
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs.msg import Caption, GazeSample, Trace
from tracevlm_ros.cli import dds
from tracevlm_ros.cli.live_scene import LiveScene
from tracevlm_ros.cli.rerun_log import RerunLog
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.recorded import masks_of
from tracevlm_ros.evaluation.ros_messages import spoken_caption, trace_snapshot
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.spin import StopRequest, run_node

_LOOK_S = 0.2
_GAZE_TYPES = {
    "tracevlm_msgs/msg/GazeSample": GazeSample,
    "geometry_msgs/msg/PointStamped": PointStamped,
}


class LiveView(Node):  # type: ignore[misc]
    """Reads the inputs and outputs of gaze_caption in its namespace, relative names.

    ``scene.drops`` also counts ``frame_unreadable`` and ``masks_unreadable``.
    """

    def __init__(self, scene: LiveScene, *, point_is_normalised: bool, **options: Any) -> None:
        super().__init__("view", **options)
        self.scene = scene
        self._point_is_normalised = point_is_normalised
        self._transport: type[Any] | None = None
        self._size_hw: tuple[int, int] | None = None
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_subscription(Image, "image", self._on_image, qos.sensor(5))
        self.create_subscription(CompressedImage, "image/compressed", self._on_image, qos.sensor(5))
        self.create_subscription(Image, "masks", self._on_masks, qos.reliable(30))
        self.create_subscription(Trace, "traces", self._on_trace, qos.reliable(200))
        self.create_subscription(Caption, "captions", self._on_caption, qos.latched(200))
        self.create_subscription(Image, "attention", self._on_attention, qos.reliable(10))
        self._look = self.create_timer(_LOOK_S, self._look_for_gaze, clock=self._steady)
        self.get_logger().info(f"waiting for images in {self.get_namespace()}")

    def stop_after(self, duration_s: float, stop: StopRequest) -> None:
        """Ask to stop when this much wall time has passed."""
        self.create_timer(duration_s, stop.set, clock=self._steady)

    def close(self) -> None:
        """Write what is held."""
        self.scene.finish()

    def _look_for_gaze(self) -> None:
        """The type of gaze is known once somebody publishes it."""
        topic = self.resolve_topic_name("gaze")
        types = dict(self.get_topic_names_and_types()).get(topic, [])
        for name in types:
            if name in _GAZE_TYPES:
                self.create_subscription(_GAZE_TYPES[name], "gaze", self._on_gaze, qos.sensor(1000))
                self._look.cancel()
                return

    def _on_image(self, message: Image | CompressedImage) -> None:
        """Of two transports, the one that gave the first frame."""
        self._transport = self._transport or type(message)
        if not isinstance(message, self._transport):
            return
        frame = self._read("frame", lambda: convert.frame_of(message))
        if frame is not None:
            self._size_hw = frame.image_rgb.shape[:2]
            self.scene.add_frame(frame)

    def _on_masks(self, message: Image) -> None:
        masks = self._read("masks", lambda: masks_of(message))
        if masks is not None:
            self.scene.add_masks(masks)

    def _on_trace(self, message: Trace) -> None:
        self.scene.add_trace(convert.ns_of(message.header.stamp), trace_snapshot(message))

    def _on_caption(self, message: Caption) -> None:
        self.scene.add_caption(spoken_caption(message))

    def _on_attention(self, message: Image) -> None:
        dwell = self._read("attention", lambda: convert.frame_of(message))
        if dwell is not None:
            self.scene.add_attention(dwell.stamp_ns, dwell.image_rgb[..., 0])

    def _on_gaze(self, message: GazeSample | PointStamped) -> None:
        """Gaze before the first image has no size to be shown in."""
        if self._size_hw is None:
            return
        if isinstance(message, PointStamped):
            gaze = convert.gaze_of_point(message, is_normalised=self._point_is_normalised)
        else:
            gaze = convert.gaze_of_sample(message)
        self.scene.add_gaze(gaze.in_pixels(self._size_hw))

    def _read(self, what: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except InputError:
            self.scene.drops[f"{what}_unreadable"] += 1
            return None


def show_live(
    log: RerunLog,
    namespace: str,
    *,
    point_is_normalised: bool,
    duration_s: float,
    domain_id: int | None,
) -> LiveScene:
    """Show the graph in ``namespace`` until Ctrl-C, SIGTERM or for ``duration_s``."""
    os.environ.update(dds.environment(domain_id))
    scene = LiveScene(log)

    def make(stop: StopRequest) -> Node:
        node = LiveView(scene, point_is_normalised=point_is_normalised)
        if duration_s < float("inf"):
            node.stop_after(duration_s, stop)
        return node

    if run_node(make, ["view", "--ros-args", "-r", f"__ns:=/{namespace.strip('/')}"]):
        raise InputError("the graph could not be shown to the end; the log above says why")
    return scene
