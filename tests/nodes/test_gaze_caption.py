"""The lifecycle node in this process, with real DDS and the fake engine."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from tests.graph.tiny_bag import FRAME_NS, GAZE_NS, SIZE_HW, START_NS, picture
from tests.nodes.conftest import Ros
from tracevlm_msgs.msg import Caption, GazeSample, Trace
from tracevlm_msgs.srv import Ask, Locate
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.gaze_mapping import GazeMapping, write_mapping
from tracevlm_ros.core.types import GazeSample as Sample
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.nodes.gaze_caption import GazeCaption

NAME = "/test/gaze_caption"


def make_node(ros: Ros, **parameters: Any) -> GazeCaption:
    overrides = [
        Parameter(name, value=value) for name, value in {"model": "fake", **parameters}.items()
    ]
    return ros.add(GazeCaption(namespace="test", parameter_overrides=overrides))


class Rig:
    """A camera, a tracker and a listener round the node."""

    def __init__(self, ros: Ros) -> None:
        self.ros = ros
        self.node: Node = ros.add(Node("rig", namespace="test"))
        self.images = self.node.create_publisher(Image, "image", qos.reliable(10))
        self.gaze = self.node.create_publisher(GazeSample, "gaze", qos.reliable(100))
        self.captions: list[Caption] = []
        self.masks: list[Image] = []
        self.statuses: dict[str, Any] = {}
        self.node.create_subscription(Caption, "captions", self.captions.append, qos.latched(100))
        self.node.create_subscription(Image, "masks", self.masks.append, qos.reliable(10))
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name.rsplit(": ", maxsplit=1)[-1]] = status

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.ros.call(self.node, ChangeState, f"{NAME}/change_state", request).success)

    def state(self) -> int:
        request = GetState.Request()
        return int(
            self.ros.call(self.node, GetState, f"{NAME}/get_state", request).current_state.id
        )

    def set_parameter(self, name: str, value: Any) -> Any:
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.ros.call(self.node, SetParameters, f"{NAME}/set_parameters", request).results[0]

    def activate(self) -> None:
        """Configure, activate, and wait until both inputs are matched."""
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.ros.until(self.images.get_subscription_count, "the image subscription")
        self.ros.until(self.gaze.get_subscription_count, "the gaze subscription")
        self.ros.until(lambda: self.node.count_publishers("masks"), "the masks publisher")

    def send_gaze(self, stamp_ns: int, x: float = 85.0, y: float = 60.0) -> None:
        self.gaze.publish(convert.gaze_message(Sample(stamp_ns, x, y), "scene", "test"))

    def send_image(self, index: int) -> int:
        stamp_ns = START_NS + index * FRAME_NS
        header = convert.header_of(stamp_ns, "scene")
        self.images.publish(convert.image_message(picture(index), "rgb8", header))
        return stamp_ns

    def look(self, first: int, count: int) -> list[int]:
        """Gaze that rests on the square during ``count`` frames; the frames' stamps. Each frame is
        awaited, so that none is dropped."""
        stamps = []
        for index in range(first, first + count):
            before = len(self.masks)
            for part in range(FRAME_NS // GAZE_NS + 2):
                self.send_gaze(START_NS + index * FRAME_NS + (part - 5) * GAZE_NS + index)
            stamps.append(self.send_image(index))
            self.ros.until(lambda before=before: len(self.masks) > before, f"mask {index}")
        return stamps

    def until_mismatch(self) -> Any:
        """The input status once it tells of a peer that does not fit."""
        self.ros.until(lambda: "mismatch_0" in str(self.statuses.get("input")), "the mismatch")
        return self.statuses["input"]

    def drops(self) -> dict[str, int]:
        status = self.statuses.get("drops")
        return {} if status is None else {pair.key: int(pair.value) for pair in status.values}

    def until_dropped(self, reason: str, count: int = 1) -> None:
        self.ros.until(lambda: self.drops().get(reason, 0) >= count, f"{count} drops as {reason}")


@pytest.fixture
def rig(ros: Ros) -> Rig:
    return Rig(ros)


@contextlib.contextmanager
def stranger() -> Iterator[Node]:
    """A node with a DDS participant of its own, as another process would have: a participant
    refuses two types on one topic."""
    context = Context()
    rclpy.init(args=[], context=context)
    node = Node("stranger", namespace="test", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def stamps_of(messages: list[Any]) -> list[int]:
    return [convert.ns_of(message.header.stamp) for message in messages]


def test_the_node_walks_through_its_life_twice(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    for _ in range(2):
        assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED
        assert rig.change(Transition.TRANSITION_CONFIGURE)
        assert rig.state() == State.PRIMARY_STATE_INACTIVE
        assert rig.change(Transition.TRANSITION_ACTIVATE)
        assert rig.state() == State.PRIMARY_STATE_ACTIVE
        assert rig.change(Transition.TRANSITION_DEACTIVATE)
        assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert rig.state() == State.PRIMARY_STATE_FINALIZED


def test_a_damaged_model_directory_fails_configure_and_the_node_stays_usable(
    ros: Ros, rig: Rig, no_model: Path
) -> None:
    node = make_node(ros, model=str(no_model))
    lines: list[str] = []
    logger = node.get_logger()
    logger.error = lines.append
    node.get_logger = lambda: logger
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "manifest.json" in lines[0]
    ros.until(lambda: "engine" in rig.statuses and rig.statuses["engine"].level == b"\x02")
    assert rig.set_parameter("model", "fake").successful
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_INACTIVE


def test_a_missing_model_directory_fails_configure(ros: Ros, rig: Rig, tmp_path: Path) -> None:
    make_node(ros, model=str(tmp_path / "nowhere"))
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.state() == State.PRIMARY_STATE_UNCONFIGURED


def test_autostart_makes_the_node_active(ros: Ros, rig: Rig) -> None:
    make_node(ros, autostart=True)
    ros.until(lambda: rig.state() == State.PRIMARY_STATE_ACTIVE, "the active state")


def test_every_output_carries_the_stamp_and_frame_of_an_input_frame(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    stamps = rig.look(1, 14)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    assert stamps_of(rig.masks) == stamps
    assert set(stamps_of(rig.captions)) <= set(stamps)
    assert {message.header.frame_id for message in [*rig.masks, *rig.captions]} == {"scene"}
    caption = next(c for c in rig.captions if c.is_final)
    assert caption.model_id == "fake"
    assert caption.text.startswith("something")
    assert caption.captured == caption.header.stamp
    received, inferred, published = (
        convert.ns_of(s) for s in (caption.received, caption.inferred, caption.published)
    )
    assert 0 < received <= inferred <= published
    assert any(not c.is_final for c in rig.captions)
    labels = np.frombuffer(rig.masks[-1].data, np.uint16)
    assert set(np.unique(labels)) <= {0, caption.trace_id}


def test_nothing_is_published_after_deactivation_and_ids_count_on(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    rig.look(1, 8)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    first_id = max(c.trace_id for c in rig.captions)
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    before = (len(rig.masks), len(rig.captions))
    ros.until(lambda: rig.images.get_subscription_count() == 0, "the end of the subscription")
    for index in range(20, 24):
        rig.send_image(index)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    assert (len(rig.masks), len(rig.captions)) == before
    ros.until(rig.images.get_subscription_count, "the image subscription")
    ros.until(rig.gaze.get_subscription_count, "the gaze subscription")
    rig.look(40, 8)
    ros.until(lambda: max(c.trace_id for c in rig.captions) > first_id, "a new trace")


def test_pictures_are_made_for_whoever_subscribes(ros: Ros, rig: Rig) -> None:
    make_node(ros, **{"pipeline.live.embedding_delay_ms": 0.0})
    rig.activate()
    binary: list[Image] = []
    attention: list[Image] = []
    overlay: list[CompressedImage] = []
    rig.node.create_subscription(Image, "masks/binary", binary.append, qos.reliable(20))
    rig.node.create_subscription(Image, "attention", attention.append, qos.reliable(20))
    rig.node.create_subscription(
        CompressedImage, "overlay/compressed", overlay.append, qos.reliable(20)
    )
    for topic in ("masks/binary", "attention", "overlay/compressed"):
        ros.until(lambda topic=topic: rig.node.count_publishers(topic), topic)
    stamps = rig.look(1, 16)
    ros.until(lambda: any(np.frombuffer(m.data, np.uint8).any() for m in binary), "a mask")
    ros.until(lambda: any(np.frombuffer(m.data, np.uint8).any() for m in attention), "attention")
    ros.until(lambda: overlay, "an overlay")
    for message in [*binary, *attention, *overlay]:
        assert convert.ns_of(message.header.stamp) in stamps
    assert set(np.unique(np.frombuffer(binary[-1].data, np.uint8))) <= {0, 255}
    assert binary[-1].encoding == attention[-1].encoding == "mono8"
    assert convert.frame_of(overlay[-1]).image_rgb.shape == (*SIZE_HW, 3)


def test_stamps_that_jump_back_begin_anew(ros: Ros, rig: Rig) -> None:
    make_node(ros, image_depth=50)
    rig.activate()
    rig.look(40, 8)
    before = len(rig.masks)
    stamps = []
    for index in range(1, 6):
        for part in range(7):
            rig.send_gaze(START_NS + index * FRAME_NS + (part - 5) * GAZE_NS + index)
        stamps.append(rig.send_image(index))
    ros.until(lambda: len(rig.masks) >= before + 4, "masks of the second round")
    assert set(stamps_of(rig.masks[before:])) <= set(stamps)
    assert stamps_of(rig.masks[before:]) == sorted(stamps_of(rig.masks[before:]))


def test_only_final_captions_come_when_partial_ones_are_switched_off(ros: Ros, rig: Rig) -> None:
    make_node(ros, publish_partial=False)
    rig.activate()
    rig.look(1, 10)
    ros.until(lambda: rig.captions, "a caption")
    assert all(c.is_final for c in rig.captions)


def test_a_late_subscriber_gets_the_captions_so_far(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    rig.look(1, 10)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    late: list[Caption] = []
    rig.node.create_subscription(Caption, "captions", late.append, qos.latched(100))
    ros.until(lambda: any(c.is_final for c in late), "the caption of before")


def test_a_question_is_answered_on_captions(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    asking = rig.node.create_publisher(String, "query", qos.reliable(10))
    ros.until(asking.get_subscription_count, "the query subscription")
    rig.look(1, 10)
    asking.publish(String(data="is it red?"))
    answer = ros.until(
        lambda: next((c for c in rig.captions if c.question and c.is_final), None), "an answer"
    )
    assert answer.question == "is it red?"
    assert answer.text.startswith("is it red? something")


def test_the_service_ask_waits_for_the_answer_and_says_why_there_is_none(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros)
    rig.activate()
    refused = ros.call(rig.node, Ask, "/test/ask", Ask.Request(question="what?"))
    assert not refused.success
    assert "no trace" in refused.message
    assert not ros.call(rig.node, Ask, "/test/ask", Ask.Request()).success
    stamps = rig.look(1, 10)
    answer = ros.call(rig.node, Ask, "/test/ask", Ask.Request(question="what is it?"))
    assert answer.success, answer.message
    assert answer.caption.is_final
    assert answer.caption.text.startswith("what is it? something")
    assert convert.ns_of(answer.caption.header.stamp) == stamps[-1]
    other = Ask.Request(question="what?", trace_id=answer.caption.trace_id + 7)
    assert "not the newest" in ros.call(rig.node, Ask, "/test/ask", other).message


def test_the_service_locate_finds_what_a_text_describes_and_says_why_it_finds_nothing(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros)
    rig.activate()

    def locate(text: str) -> Locate.Response:
        return ros.call(rig.node, Locate, "/test/locate", Locate.Request(text=text))

    assert "no frame" in locate("the red thing").message
    index, (height, width) = 3, SIZE_HW
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[40:80, 60:100] = (220, 40, 40)
    stamp_ns = START_NS + index * FRAME_NS
    rig.send_gaze(stamp_ns - 1)
    header = convert.header_of(stamp_ns, "scene")
    rig.images.publish(convert.image_message(pixels, "rgb8", header))
    ros.until(lambda: rig.masks, "the frame's mask")
    found = locate("the red thing")
    assert found.success, found.message
    assert convert.ns_of(found.trace.header.stamp) == stamp_ns
    mask = np.frombuffer(found.mask.data, np.uint8).reshape(height, width) > 0
    truth = np.zeros((height, width), bool)
    truth[40:80, 60:100] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8
    box = found.region
    assert abs(box.x_offset - 60) <= 3
    assert abs(box.width - 40) <= 6
    assert all(57 <= p.x <= 103 and 37 <= p.y <= 83 for p in found.trace.keypoints)
    assert "fits 'the green thing'" in locate("the green thing").message
    assert "empty" in locate(" ").message


def test_a_model_that_cannot_locate_says_so_at_once(ros: Ros, rig: Rig) -> None:
    make_node(ros, model="nano")
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    answer = ros.call(rig.node, Locate, "/test/locate", Locate.Request(text="the red thing"))
    assert not answer.success
    assert "finds nothing by text" in answer.message


def test_a_gaze_calibration_that_cannot_be_read_fails_configure(
    ros: Ros, rig: Rig, tmp_path: Path
) -> None:
    make_node(ros, gaze_calibration=str(tmp_path / "none.yaml"))
    assert not rig.change(Transition.TRANSITION_CONFIGURE)
    ros.until(lambda: "none.yaml" in str(rig.statuses.get("engine")), "the reason")


def test_a_gaze_calibration_is_swapped_while_active_and_a_bad_one_is_refused_with_the_reason(
    ros: Ros, rig: Rig, tmp_path: Path
) -> None:
    make_node(ros)
    traces: list[Trace] = []
    rig.node.create_subscription(Trace, "traces", traces.append, qos.reliable(100))
    rig.activate()
    ros.until(lambda: rig.node.count_publishers("traces"), "the traces publisher")

    def newest_x(stamp_ns: int) -> float:
        """Of the trace that was opened last, on the frame of ``stamp_ns``."""
        ros.until(lambda: any(convert.ns_of(t.header.stamp) == stamp_ns for t in traces), "a trace")
        return float(max(traces, key=lambda trace: trace.trace_id).keypoints[-1].x)

    stamps = rig.look(1, 10)
    assert newest_x(stamps[-1]) == pytest.approx(85, abs=3)
    left = GazeMapping(model="affine", parameters=(-40 / SIZE_HW[1], 0, 1, 0, 0, 1))
    write_mapping(tmp_path / "left.yaml", left, {})
    assert rig.set_parameter("gaze_calibration", str(tmp_path / "left.yaml")).successful
    (tmp_path / "bad.yaml").write_text("a: 1")
    refused = rig.set_parameter("gaze_calibration", str(tmp_path / "bad.yaml"))
    assert not refused.successful
    assert "bad.yaml is no gaze calibration" in refused.reason
    assert newest_x(rig.look(11, 12)[-1]) == pytest.approx(45, abs=3)
    assert rig.set_parameter("gaze_calibration", "").successful
    assert newest_x(rig.look(23, 12)[-1]) == pytest.approx(85, abs=3)


def test_a_question_without_a_trace_is_counted(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    asking = rig.node.create_publisher(String, "query", qos.reliable(10))
    ros.until(asking.get_subscription_count, "the query subscription")
    asking.publish(String(data="what?"))
    rig.until_dropped("question_without_trace")


def test_frames_without_any_gaze_are_processed_after_the_longest_wait(ros: Ros, rig: Rig) -> None:
    make_node(ros, max_gaze_wait_ms=10)
    rig.activate()
    stamps = []
    for index in (1, 2, 3):
        stamps.append(rig.send_image(index))
        ros.until(lambda: stamps_of(rig.masks) == stamps, "a mask without gaze")
    rig.until_dropped("frame_gaze_timeout", 3)


def test_nan_gaze_and_unknown_encodings_are_survived_and_counted(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    rig.images.publish(Image(encoding="32FC1", height=1, width=1, step=4))
    rig.until_dropped("image_undecodable")
    rig.send_gaze(START_NS + 1, math.nan, math.nan)
    rig.send_gaze(0, 1.0, 1.0)
    rig.until_dropped("gaze_stamp_invalid")
    stamps = rig.look(1, 3)
    assert stamps_of(rig.masks) == stamps


def test_a_topic_of_the_wrong_type_is_named_in_diagnostics(ros: Ros, rig: Rig) -> None:
    make_node(ros, gaze_type="gaze_sample")
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    with stranger() as node:
        node.create_publisher(PointStamped, "gaze", qos.reliable(10))
        status = rig.until_mismatch()
    assert status.level == b"\x02"
    for part in ("/test/gaze", "/test/stranger", "PointStamped", "GazeSample"):
        assert part in status.message


def test_a_qos_that_does_not_fit_is_named_with_its_policy(ros: Ros, rig: Rig) -> None:
    topic = "qos_overrides./test/image.subscription.reliability"
    make_node(ros, **{topic: "reliable"})
    rig.node.destroy_publisher(rig.images)
    rig.images = rig.node.create_publisher(Image, "image", qos.sensor(1))
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    assert rig.change(Transition.TRANSITION_ACTIVATE)
    status = rig.until_mismatch()
    for part in ("/test/image", "/test/rig", "reliability", topic.rsplit(".", maxsplit=1)[0]):
        assert part in status.message


def test_parameters_that_apply_at_configure_are_refused_while_configured(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros)
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    result = rig.set_parameter("model", "nano")
    assert not result.successful
    assert "clean the node up first" in result.reason
    assert rig.set_parameter("publish_partial", False).successful
    assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.set_parameter("pipeline.live.max_traces", 5).successful


def test_values_that_do_not_fit_are_refused_with_the_limit(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    for name, value, told in (
        ("overlay_quality", 101, "range"),
        ("gaze_unit", "metres", "pixels, normalised"),
        ("pipeline.live.max_traces", 0, "from 1 to 64"),
        ("autostart", True, "read-only"),
    ):
        result = rig.set_parameter(name, value)
        assert not result.successful, name
        assert told in result.reason


def test_a_wrong_value_at_start_is_one_clear_error(ros: Ros) -> None:
    for overrides, told in (
        ({"image_depth": "many"}, "image_depth"),
        ({"gaze_type": "thought"}, "gaze_sample, point_stamped"),
        ({"pipeline.live.linger_ms": -1.0}, "linger_ms"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_node(ros, **overrides)
