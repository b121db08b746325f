"""Two cameras and two people: nodes in two namespaces hear and tell nothing of each other."""

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from diagnostic_msgs.msg import DiagnosticArray

from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of
from tracevlm_ros.nodes import qos

FIRST = {"left": 1, "right": 101}
COUNTS = {"left": 14, "right": 9}
PARTS = ("input", "engine", "latency", "drops", "attention")


def values(rig: Rig, part: str) -> dict[str, str]:
    return {pair.key: pair.value for pair in rig.statuses[part].values}


def test_two_nodes_do_not_hear_each_other(ros: Ros) -> None:
    rigs = {side: Rig(ros, side) for side in FIRST}
    names: set[str] = set()
    rigs["left"].node.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda message: names.update(status.name for status in message.status),
        qos.reliable(10),
    )
    for side, rig in rigs.items():
        rig.frame_id = f"{side}_camera"
        make_node(ros, side)
        rig.activate()
    stamps: dict[str, list[int]] = {side: [] for side in rigs}
    for step in range(max(COUNTS.values())):  # by turns
        for side, rig in rigs.items():
            if step < COUNTS[side]:
                stamps[side] += rig.look(FIRST[side] + step, 1)
    for side, rig in rigs.items():
        ros.until(lambda rig=rig: any(c.is_final for c in rig.captions), f"a caption of {side}")
        ros.until(
            lambda rig=rig, side=side: values(rig, "input").get("image_total") == str(COUNTS[side]),
            f"the count of {side}",
        )
        assert stamps_of(rig.masks) == stamps[side]
        assert set(stamps_of(rig.captions)) <= set(stamps[side])
        assert {m.header.frame_id for m in [*rig.masks, *rig.captions]} == {f"{side}_camera"}
        assert min(caption.trace_id for caption in rig.captions) == 1
        assert values(rig, "engine")["lifecycle"] == "active"
    assert names == {f"{side}/gaze_caption: {part}" for side in rigs for part in PARTS}
