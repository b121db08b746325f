"""Known targets of the eye: the topic gaze_target, and what diagnostics tell of the correction."""

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from geometry_msgs.msg import Point, PointStamped

from tests.graph.tiny_bag import FRAME_NS, START_NS
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node
from tracevlm_ros.nodes import convert, qos

OFF_PX = (-10.0, 6.0)


def target_at(frame: int, x: float, y: float) -> PointStamped:
    header = convert.header_of(START_NS + frame * FRAME_NS, "scene")
    return PointStamped(header=header, point=Point(x=x, y=y))


def input_values(rig: Rig) -> dict[str, str]:
    status = rig.statuses.get("input")
    return {} if status is None else {pair.key: pair.value for pair in status.values}


def test_known_targets_correct_gaze_and_diagnostics_show_by_how_much(ros: Ros, rig: Rig) -> None:
    drift = {"enabled": True, "interval_ms": 100.0, "step_px": 20.0, "min_agreements": 1}
    make_node(ros, **{f"pipeline.drift.{name}": value for name, value in drift.items()})
    targets = rig.node.create_publisher(PointStamped, "gaze_target", qos.reliable(10))
    rig.activate()
    ros.until(targets.get_subscription_count, "the subscription to targets")
    ros.until(lambda: input_values(rig).get("drift_x_px") == "0.0", "no correction yet")
    for frame in (3, 6, 9):
        targets.publish(target_at(frame, 85.0 + OFF_PX[0], 60.0 + OFF_PX[1]))
    targets.publish(target_at(12, float("nan"), 60.0))
    rig.until_dropped("gaze_target_not_finite")
    rig.look(1, 16)
    wanted = tuple(f"{value:.1f}" for value in OFF_PX)

    def shown() -> tuple[str | None, ...]:
        return tuple(input_values(rig).get(f"drift_{axis}_px") for axis in "xy")

    ros.until(lambda: shown() == wanted, f"a correction of {wanted}")


def test_targets_are_not_listened_to_while_the_correction_is_off(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    targets = rig.node.create_publisher(PointStamped, "gaze_target", qos.reliable(10))
    rig.activate()
    rig.look(1, 3)
    ros.until(lambda: input_values(rig).get("gaze_hz", "0.00") != "0.00", "a report")
    assert targets.get_subscription_count() == 0
    assert "drift_x_px" not in input_values(rig)
