"""Questions and searches: the topic query, the services ask and locate."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from std_msgs.msg import String

from engine.runtime.fake import FakeEngine
from engine.runtime.loading import model_directory
from tests.graph.tiny_bag import FRAME_NS, SIZE_HW, START_NS
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node
from tracevlm_msgs.srv import Ask, Locate
from tracevlm_ros.core.errors import BackendError, EngineError
from tracevlm_ros.nodes import convert, qos
from tracevlm_ros.synthetic.clip import Clip, ClipConfig


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


def test_a_question_without_a_trace_is_counted(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    asking = rig.node.create_publisher(String, "query", qos.reliable(10))
    ros.until(asking.get_subscription_count, "the query subscription")
    asking.publish(String(data="what?"))
    rig.until_dropped("question_without_trace")


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


def test_the_shipped_model_locates_in_a_drawn_scene(ros: Ros, rig: Rig) -> None:
    try:
        model_directory("nano")
    except EngineError as error:
        pytest.skip(str(error))
    scene = next(iter(Clip(ClipConfig(seed=7, height=240, width=320)).frames()))
    make_node(ros, model="nano", backend="onnxruntime-cpu")
    rig.activate()
    rig.send_gaze(START_NS - 1)
    header = convert.header_of(START_NS, "scene")
    rig.images.publish(convert.image_message(scene.image_rgb, "rgb8", header))
    ros.until(lambda: rig.masks, "the frame's mask")
    shown = {int(label) for label in np.unique(scene.labels) if label}
    found = 0
    for label in shown:
        item = scene.scene.objects[label - 1]
        text = f"a {item.size} {item.texture} {item.colour} {item.shape}"
        answer = ros.call(rig.node, Locate, "/test/locate", Locate.Request(text=text))
        on = [scene.labels[int(p.y), int(p.x)] == label for p in answer.trace.keypoints]
        found += bool(on) and np.mean(on) > 0.5
    assert found >= 0.6 * len(shown)


def test_a_model_that_cannot_locate_says_so_at_once(
    ros: Ros, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    describes = FakeEngine().info._replace(locates=False)
    monkeypatch.setattr(FakeEngine, "info", describes)
    make_node(ros)
    rig.activate()
    answer = ros.call(rig.node, Locate, "/test/locate", Locate.Request(text="the red thing"))
    assert not answer.success
    assert "finds nothing by text" in answer.message


def test_a_search_that_fails_is_answered_with_the_reason(
    ros: Ros, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendError("this search was given up: memory ran out")

    monkeypatch.setattr(FakeEngine, "locate", fail)
    make_node(ros)
    rig.activate()
    rig.look(1, 3)
    answer = ros.call(rig.node, Locate, "/test/locate", Locate.Request(text="the red thing"))
    assert not answer.success
    assert "memory ran out" in answer.message
    rig.until_dropped("slow_path_failed")
