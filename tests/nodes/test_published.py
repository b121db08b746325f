"""What the node publishes, with real DDS and the fake engine."""

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from sensor_msgs.msg import CompressedImage, Image

from tests.graph.tiny_bag import FRAME_NS, GAZE_NS, SIZE_HW, START_NS
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of, trace_ids
from tracevlm_msgs.msg import Caption
from tracevlm_ros.nodes import convert, outputs, painter, qos


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


def test_what_came_before_the_first_tick_is_stamped_by_its_own_time(ros: Ros, rig: Rig) -> None:
    make_node(ros, use_sim_time=True)
    rig.activate()
    rig.look(1, 14)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    for caption in rig.captions:
        assert caption.received == caption.inferred == caption.published == caption.captured


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


def test_nothing_is_drawn_while_nobody_looks(
    ros: Ros, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither before anybody subscribes nor after the last one has gone."""
    made: list[str] = []
    for module, name in ((painter, "draw_overlay"), (outputs, "_newest_mask")):
        whole = getattr(module, name)

        def noted(*values: Any, whole: Any = whole, name: str = name) -> Any:
            made.append(name)
            return whole(*values)

        monkeypatch.setattr(module, name, noted)
    make_node(ros)
    rig.activate()
    rig.look(1, 4)
    assert made == []
    watching = [
        rig.node.create_subscription(CompressedImage, "overlay/compressed", lambda _: None, 1),
        rig.node.create_subscription(Image, "masks/binary", lambda _: None, 1),
    ]
    rig.look(5, 4)
    ros.until(lambda: set(made) == {"draw_overlay", "_newest_mask"}, "both pictures")
    for subscription in watching:
        rig.node.destroy_subscription(subscription)
    indices = itertools.count(9)

    def is_quiet() -> bool:
        made.clear()
        rig.look(next(indices), 1)
        return made == []

    ros.until(is_quiet, "the end of drawing")


def test_captions_grow_word_by_word_and_end_with_one_that_is_final(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    rig.look(1, 14)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    last = next(n for n, caption in enumerate(rig.captions) if caption.is_final)
    told = rig.captions[: last + 1]
    assert len(told) > 2
    assert {caption.trace_id for caption in told} == {told[0].trace_id}
    assert len(set(stamps_of(told))) == 1
    assert len({convert.ns_of(caption.received) for caption in told}) == 1
    for before, after in itertools.pairwise(told):
        assert after.text.startswith(before.text)
        assert convert.ns_of(before.published) <= convert.ns_of(after.inferred)
    assert all(caption.trace_is_open and not caption.question for caption in told)


def test_diagnostics_tell_dwell_and_transitions_of_the_newest_traces(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    rig.activate()
    ros.until(lambda: "attention" in rig.statuses, "the status")
    assert rig.statuses["attention"].message == "nothing looked at yet"
    rig.look(1, 14)
    rig.look(15, 14, x=20.0)

    ros.until(lambda: "from_1_to_2_gap_s" in rig.attention(), "the transition")
    dwelt_ns = 14 * FRAME_NS
    assert rig.attention()["trace_1_dwell_s"] == pytest.approx(dwelt_ns / 1e9, rel=0.3)
    assert 0 <= rig.attention()["from_1_to_2_gap_s"] < 0.2
    assert rig.statuses["attention"].message.startswith("trace 2 for ")


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


def test_stamps_that_jump_forward_begin_anew_once_a_second_frame_confirms_it(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros, image_depth=50)
    rig.activate()
    rig.look(1, 8)
    first, before = trace_ids(rig.masks), len(rig.masks)
    stamps = []
    for index in range(1001, 1015):  # 50 s later
        for part in range(8):
            rig.send_gaze(START_NS + index * FRAME_NS + (part - 5) * GAZE_NS + index)
        stamps.append(rig.send_image(index))
        if index > 1001:
            ros.until(lambda: len(rig.masks) >= before + len(stamps) - 1, f"mask {index}")
    ros.until(lambda: stamps_of(rig.masks[before:]) == stamps, "all masks after the jump")
    assert "frame_stamp_jump" not in rig.drops()
    assert first
    assert min(trace_ids(rig.masks[before:])) > max(first)
    lone_ns = rig.send_image(2000)  # a glitch: nothing confirms it
    after = rig.look(1020, 3)
    rig.until_dropped("frame_stamp_jump")
    assert stamps_of(rig.masks)[-3:] == after
    assert lone_ns not in stamps_of(rig.masks)


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
