"""Inputs that vanish, return and change: the node stays active, says so, and goes on."""

import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from sensor_msgs.msg import CompressedImage, Image

from engine.runtime.fake import FakeEngine
from tests.graph.tiny_bag import FRAME_NS, GAZE_NS, START_NS, picture
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of
from tracevlm_msgs.msg import GazeSample
from tracevlm_ros.nodes import convert, qos

QUICK = {"max_gaze_wait_ms": 50}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node logs about inputs that come and go."""
    from tracevlm_ros.nodes import gaze_caption

    lines: list[str] = []
    whole = gaze_caption.Presence
    monkeypatch.setattr(
        gaze_caption, "Presence", lambda streams, _say: whole(streams, lines.append)
    )
    return lines


def published(rig: Rig, pixels: Any, encoding: str, index: int) -> Image:
    """Send one image of any form and wait for its mask."""
    stamp_ns = START_NS + index * FRAME_NS
    before = len(rig.masks)
    rig.images.publish(
        convert.image_message(pixels, encoding, convert.header_of(stamp_ns, "scene"))
    )
    rig.ros.until(lambda: len(rig.masks) > before, f"the mask of {encoding}")
    assert stamps_of(rig.masks)[-1] == stamp_ns
    return rig.masks[-1]


def until(rig: Rig, condition: Callable[[], Any], what: str) -> None:
    rig.ros.until(condition, what)


def test_a_camera_that_changes_its_size_and_encoding_is_followed(ros: Ros, rig: Rig) -> None:
    make_node(ros, **QUICK)
    rig.activate()
    rig.look(1, 4)
    grey = cv2.cvtColor(picture(5), cv2.COLOR_RGB2GRAY)
    forms = (
        (picture(5)[..., ::-1], "bgr8"),
        (grey, "mono8"),
        (cv2.resize(picture(6), (320, 240)), "rgb8"),
        (cv2.resize(grey, (63, 47)), "mono8"),
        (np.dstack([picture(7), np.full(grey.shape, 255, np.uint8)]), "rgba8"),
    )
    for index, (pixels, encoding) in enumerate(forms, 5):
        mask = published(rig, pixels, encoding, index)
        assert (mask.height, mask.width) == pixels.shape[:2]
    rig.look(20, 4)
    assert not any(reason.endswith(("_bug", "_failed")) for reason in rig.drops())


def test_a_camera_that_vanishes_is_told_and_returns_on_another_transport(
    ros: Ros, rig: Rig, said: list[str]
) -> None:
    make_node(ros, **QUICK)
    rig.activate()
    rig.look(1, 4)
    rig.node.destroy_publisher(rig.images)
    until(rig, lambda: any(line.startswith("image has not come") for line in said), "the warning")
    jpegs = rig.node.create_publisher(CompressedImage, "image/compressed", qos.reliable(10))
    until(rig, jpegs.get_subscription_count, "the subscription to the other transport")
    before = len(rig.masks)
    for index in range(30, 33):
        jpeg = cv2.imencode(".jpg", picture(index)[..., ::-1])[1].tobytes()
        header = convert.header_of(START_NS + index * FRAME_NS, "scene")
        jpegs.publish(convert.jpeg_message(jpeg, header))
    until(rig, lambda: len(rig.masks) > before, "masks of the other transport")
    until(rig, lambda: "image comes again" in said, "the return")


def test_gaze_that_vanishes_leaves_masks_coming_and_makes_traces_when_it_returns(
    ros: Ros, rig: Rig, said: list[str]
) -> None:
    make_node(ros, **QUICK)
    rig.activate()
    rig.look(1, 10)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    newest = max(c.trace_id for c in rig.captions)
    rig.node.destroy_publisher(rig.gaze)
    index = 20
    while not any(line.startswith("gaze has not come") for line in said):
        before = len(rig.masks)
        rig.send_image(index)
        ros.until(lambda before=before: len(rig.masks) > before, "a mask without gaze")
        index += 1
        assert index < 1000
    rig.until_dropped("frame_gaze_timeout")
    rig.gaze = rig.node.create_publisher(GazeSample, "gaze", qos.reliable(100))
    ros.until(rig.gaze.get_subscription_count, "the gaze subscription")
    rig.look(index + 10, 10)
    ros.until(lambda: max(c.trace_id for c in rig.captions) > newest, "a new trace")


def lost_frames(drops: dict[str, int]) -> int:
    """Frames without a mask, by all reasons; one that did not wait for its gaze has one."""
    return sum(
        count
        for reason, count in drops.items()
        if reason.startswith(("image_", "frame_")) and reason != "frame_gaze_timeout"
    )


def test_a_flood_of_images_and_gaze_keeps_the_newest_and_counts_the_rest(
    ros: Ros, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine holds the first frame until 60 more have come, with their gaze."""
    gate, entered = threading.Event(), threading.Event()
    whole = FakeEngine.encode

    def encode(engine: FakeEngine, image_rgb: Any) -> Any:
        entered.set()
        assert gate.wait(20.0)
        return whole(engine, image_rgb)

    make_node(ros, image_depth=1, gaze_depth=16, **QUICK)
    rig.activate()
    rig.look(1, 1)
    monkeypatch.setattr(FakeEngine, "encode", encode)
    count = 60
    try:
        for index in range(2, count + 2):
            for part in range(8):
                rig.send_gaze(START_NS + index * FRAME_NS + (part - 8) * GAZE_NS)
            stamp_ns = rig.send_image(index)
            if index == 2:
                ros.until(entered.is_set, "the first frame in the engine")
        rig.until_dropped("gaze_queue_full")
        rig.until_dropped("image_queue_full")
    finally:
        gate.set()
    ros.until(lambda: stamps_of(rig.masks)[-1:] == [stamp_ns], "the newest frame's mask")
    rig.look(count + 20, 4)
    sent = count + 1 + 4
    ros.until(lambda: len(rig.masks) + lost_frames(rig.drops()) == sent, "a reason for each frame")
    assert stamps_of(rig.masks) == sorted(stamps_of(rig.masks))
    assert len(rig.masks) < 15


def test_images_cut_short_or_of_impossible_size_are_counted_and_survived(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros, **QUICK)
    rig.activate()
    whole = convert.image_message(picture(1), "rgb8", convert.header_of(START_NS, "scene"))
    for change in ({"height": 4000}, {"step": 1}, {"width": 0}, {"encoding": "rgb\x00"}):
        broken = Image(
            header=whole.header,
            height=change.get("height", whole.height),
            width=change.get("width", whole.width),
            encoding=change.get("encoding", "rgb8"),
            step=change.get("step", whole.step),
            data=whole.data,
        )
        before = rig.drops().get("image_undecodable", 0)
        rig.images.publish(broken)
        rig.until_dropped("image_undecodable", before + 1)
    rig.look(5, 3)
