"""The node's subscriptions. Callbacks only stamp the time and hand over; they never block."""

import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from tracevlm_msgs.msg import GazeSample, Word
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.ingest.camera_info import lens_of
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.arrival import Arrival, Question
from tracevlm_ros.nodes.fast_path import FastPath
from tracevlm_ros.nodes.losses import Losses
from tracevlm_ros.nodes.params import NodeParameters
from tracevlm_ros.nodes.stopwatch import Stopwatch

_TRANSPORTS = {"raw": (Image, "image"), "compressed": (CompressedImage, "image/compressed")}
_IMAGES_IN_TRANSPORT = 5
"""Images that the middleware may hold while the executor is busy; what the engine cannot follow is
dropped behind that, by policy and counted."""
_GAZE_TYPES = {"gaze_sample": GazeSample, "point_stamped": PointStamped}


class Inputs:
    """Subscribes on construction; ``destroy`` ends it."""

    def __init__(
        self,
        node: Node,
        fast_path: FastPath,
        parameters: NodeParameters,
        watch: qos.ConnectionWatch,
        stopwatch: Stopwatch,
    ) -> None:
        self._node = node
        self._fast_path = fast_path
        self._watch = watch
        self._stopwatch = stopwatch
        self._is_normalised = parameters["gaze_unit"] == "normalised"
        self._lens: Lens | None = None
        self._all: list[Any] = []
        self._images: dict[str, Any] = {}
        transport = parameters["image_transport"]
        self._transports = tuple(_TRANSPORTS) if transport == "auto" else (transport,)
        self._image_profile = qos.sensor(max(_IMAGES_IN_TRANSPORT, parameters["image_depth"]))
        self.listen_for_images()
        gaze_type = _GAZE_TYPES[parameters["gaze_type"]]
        on_gaze = self._on_sample if gaze_type is GazeSample else self._on_point
        profile = qos.sensor(min(1000, parameters["gaze_depth"]))
        self._subscribe(gaze_type, "gaze", on_gaze, profile, loses="gaze")
        if parameters["use_camera_info"]:
            self._subscribe(CameraInfo, "camera_info", self._on_camera_info, qos.sensor(1))
        if parameters["pipeline.drift.enabled"]:
            self._subscribe(PointStamped, "gaze_target", self._on_target, qos.sensor(100))
        self._subscribe(Word, "words", self._on_word, qos.reliable(100))
        self._subscribe(String, "query", self._on_query, qos.reliable(10))

    def listen_for_images(self) -> None:
        """Subscribe to every transport that may be read and is not."""
        for name in self._transports:
            if name not in self._images:
                msg_type, topic = _TRANSPORTS[name]
                self._images[name] = self._subscribe(
                    msg_type, topic, self._image_callback(name), self._image_profile, loses="image"
                )

    def _subscribe(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        loses: str = "",
    ) -> Any:
        """``loses`` is the name under which messages that never came are counted."""

        losses = Losses(lambda count: self._fast_path.count_lost(loses, count))

        def counted(message: Any, info: Any) -> None:
            losses.message(info)
            callback(message)

        subscription = self._node.create_subscription(
            msg_type,
            topic,
            counted if loses else callback,
            profile,
            event_callbacks=qos.quiet_subscription(losses.event if loses else None),
            qos_overriding_options=qos.overridable(),
        )
        self._all.append(self._watch.subscription(subscription))
        return subscription

    def destroy(self) -> None:
        """Take the subscriptions off the graph."""
        for subscription in list(self._all):
            self._drop(subscription)

    def _drop(self, subscription: Any) -> None:
        self._watch.forget(subscription)
        self._all.remove(subscription)
        self._node.destroy_subscription(subscription)

    def arrival(self, stamp_ns: int = 0) -> Arrival:
        """Now. With simulated time the node's clock is 0 until /clock is first heard: then the
        message's own ``stamp_ns`` is the best that is known."""
        now_ns = int(self._node.get_clock().now().nanoseconds)
        return Arrival(now_ns or stamp_ns, time.monotonic())

    def _image_callback(self, transport: str) -> Callable[[Any], None]:
        def on_image(message: Any) -> None:
            arrival = self.arrival(convert.ns_of(message.header.stamp))
            self._stopwatch.event("image", arrival.received_s)
            self._settle_on(transport)
            self._fast_path.offer_image(message, arrival)

        return on_image

    def _settle_on(self, transport: str) -> None:
        """The first transport that gives a frame is the one that is read."""
        for other in [name for name in self._images if name != transport]:
            self._drop(self._images.pop(other))
            self._node.get_logger().info(f"images come on '{_TRANSPORTS[transport][1]}'")

    def _on_sample(self, message: GazeSample) -> None:
        self._stopwatch.event("gaze")
        self._fast_path.offer_gaze(convert.gaze_of_sample(message))

    def _on_point(self, message: PointStamped) -> None:
        self._stopwatch.event("gaze")
        self._fast_path.offer_gaze(
            convert.gaze_of_point(message, is_normalised=self._is_normalised)
        )

    def _on_target(self, message: PointStamped) -> None:
        self._stopwatch.event("gaze_target")
        self._fast_path.offer_target(
            convert.gaze_of_point(message, is_normalised=self._is_normalised)
        )

    def _on_camera_info(self, message: CameraInfo) -> None:
        lens = lens_of(message)
        if lens is None:
            self._fast_path.count_drop("camera_info_without_focal")
        elif lens != self._lens:
            self._lens = lens
            self._fast_path.offer_lens(lens)

    def _on_word(self, message: Word) -> None:
        self._stopwatch.event("words")
        self._fast_path.offer_word(convert.word_of(message))

    def _on_query(self, message: String) -> None:
        self._fast_path.offer_question(Question(message.data, self.arrival()))
