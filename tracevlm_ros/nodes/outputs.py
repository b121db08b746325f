"""What the node publishes. Everything carries the stamp and frame_id of the frame it describes."""

import time
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from tracevlm_msgs import msg as out
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.types import Caption
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.arrival import Arrival
from tracevlm_ros.nodes.painter import Painter, Picture
from tracevlm_ros.nodes.params import NodeParameters
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch

_CAPTIONS_REMEMBERED = 64


class Outputs:
    """The node's lifecycle publishers; silent while the node is not active.

    ``step_done`` is called in the thread that owns ``pipeline``, ``caption_written`` in the slow
    path's. Images that nobody listens to are not made.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipeline: Pipeline,
        parameters: NodeParameters,
        watch: qos.ConnectionWatch,
        stopwatch: Stopwatch,
        problems: Problems,
    ) -> None:
        self._node = node
        self._pipeline = pipeline
        self._parameters = parameters
        self._watch = watch
        self._stopwatch = stopwatch
        self._texts: dict[int, str] = {}
        self._all: list[Any] = []
        self._mask_messages = convert.MaskMessages()
        self._captions = self._publisher(out.Caption, "captions", qos.latched(32))
        self._masks = self._publisher(Image, "masks", qos.reliable(4))
        self._binary = self._publisher(Image, "masks/binary", qos.reliable(4))
        self._traces = self._publisher(out.Trace, "traces", qos.reliable(64))
        self._attention = self._publisher(Image, "attention", qos.reliable(1))
        self._overlay = self._publisher(CompressedImage, "overlay/compressed", qos.reliable(2))
        self.painter = Painter(self._publish_overlay, problems)

    def _publisher(self, msg_type: Any, topic: str, profile: QoSProfile) -> Any:
        publisher = self._node.create_lifecycle_publisher(
            msg_type,
            topic,
            profile,
            event_callbacks=qos.QUIET_PUBLISHER,
            qos_overriding_options=qos.overridable(),
        )
        self._all.append(self._watch.publisher(publisher))
        return publisher

    def destroy(self) -> None:
        """Take the publishers off the graph."""
        for publisher in self._all:
            self._watch.forget(publisher)
            self._node.destroy_lifecycle_publisher(publisher)
        self._all.clear()

    def now_ns(self) -> int:
        """The node's clock."""
        return int(self._node.get_clock().now().nanoseconds)

    # --- the fast path -----------------------------------------------------------------------

    def step_done(self, step: StepResult, arrival: Arrival) -> None:
        """Publish one frame's masks and traces, and the pictures that someone wants."""
        start_s = time.monotonic()
        header = convert.header_of(step.frame.stamp_ns, step.frame.frame_id)
        if _is_wanted(self._traces):
            for trace in step.traces:
                self._traces.publish(convert.trace_message(trace, header))
        if _is_wanted(self._masks):
            self._masks.publish(self._mask_messages.of(step.masks))
        self._stopwatch.event("masks")
        end_s, frame_ns = time.monotonic(), step.frame.stamp_ns
        self._stopwatch.add("publish", start_s, end_s, frame_ns)
        self._stopwatch.add("received_to_published", arrival.received_s, end_s, frame_ns)
        if _is_wanted(self._binary):
            self._binary.publish(convert.image_message(_newest_mask(step), "mono8", header))
        if _is_wanted(self._attention):
            height, width = step.frame.image_rgb.shape[:2]
            dwell = self._pipeline.attention.render((height, width))
            self._attention.publish(convert.image_message(dwell, "mono8", header))
        if _is_wanted(self._overlay):
            shown = {trace.trace_id for trace in step.traces} & self._texts.keys()
            texts = {trace_id: self._texts[trace_id] for trace_id in sorted(shown)}
            self.painter.offer(Picture(step, texts, self._parameters["overlay_quality"]))

    def _publish_overlay(self, jpeg: bytes, step: StepResult) -> None:
        header = convert.header_of(step.frame.stamp_ns, step.frame.frame_id)
        self._overlay.publish(convert.jpeg_message(jpeg, header))

    # --- the slow path -----------------------------------------------------------------------

    def caption_written(self, caption: Caption, arrival: Arrival) -> None:
        """Publish a caption, a partial one only if the parameter says so."""
        inferred_ns = self.now_ns()
        self._remember(caption)
        if not caption.is_final and not self._parameters["publish_partial"]:
            return
        self._captions.publish(self.caption_message(caption, arrival, inferred_ns))
        self._stopwatch.event("captions" if caption.is_final else "captions_partial")

    def caption_message(
        self, caption: Caption, arrival: Arrival, inferred_ns: int | None = None
    ) -> out.Caption:
        """The message, published now. Its stamps never run backwards, as a clock that is only just
        heard would have it."""
        now_ns = max(self.now_ns(), arrival.received_ns)
        inferred_ns = now_ns if inferred_ns is None else max(inferred_ns, arrival.received_ns)
        stamps = convert.Stamps(arrival.received_ns, inferred_ns, now_ns)
        return convert.caption_message(caption, stamps)

    def _remember(self, caption: Caption) -> None:
        self._texts[caption.trace_id] = caption.text
        while len(self._texts) > _CAPTIONS_REMEMBERED:
            del self._texts[next(iter(self._texts))]


def _is_wanted(publisher: Any) -> bool:
    return bool(publisher.is_activated and publisher.get_subscription_count() > 0)


def _newest_mask(step: StepResult) -> Any:
    """mono8: 255 on the newest trace that has a mask."""
    labels = step.masks.labels
    if not step.masks.trace_ids:
        return np.zeros(labels.shape, dtype=np.uint8)
    return (labels == label_of(max(step.masks.trace_ids))).astype(np.uint8) * np.uint8(255)
