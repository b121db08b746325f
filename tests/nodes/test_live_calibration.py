"""A calibration of gaze at configure and while the node is active."""

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from lifecycle_msgs.msg import Transition

from tests.graph.tiny_bag import SIZE_HW
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node
from tracevlm_msgs.msg import Trace
from tracevlm_ros.core.gaze_mapping import GazeMapping, write_mapping
from tracevlm_ros.nodes import convert, qos


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
