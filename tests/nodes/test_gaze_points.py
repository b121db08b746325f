"""Gaze that comes as geometry_msgs/PointStamped, in either unit."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from geometry_msgs.msg import Point, PointStamped

from tests.graph.tiny_bag import SIZE_HW
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of
from tracevlm_msgs.msg import Trace
from tracevlm_ros.nodes import convert, qos


class PointRig(Rig):
    """Its tracker says where it looks as PointStamped, in pixels or as a share of the image."""

    gaze_type = PointStamped

    def __init__(self, ros: Ros, unit: str) -> None:
        super().__init__(ros)
        self.traces: list[Trace] = []
        self.node.create_subscription(Trace, "traces", self.traces.append, qos.reliable(100))
        self._unit = unit

    def send_gaze(self, stamp_ns: int, x: float = 85.0, y: float = 60.0) -> None:
        if self._unit == "normalised":
            height, width = SIZE_HW
            x, y = (x + 0.5) / width, (y + 0.5) / height
        header = convert.header_of(stamp_ns, "scene")
        self.gaze.publish(PointStamped(header=header, point=Point(x=x, y=y)))


@pytest.mark.parametrize("unit", ["pixels", "normalised"])
def test_points_make_traces_masks_and_captions(ros: Ros, unit: str) -> None:
    rig = PointRig(ros, unit)
    make_node(ros, gaze_type="point_stamped", gaze_unit=unit)
    rig.activate()
    stamps = rig.look(1, 14)
    ros.until(lambda: any(c.is_final for c in rig.captions), "a final caption")
    ros.until(lambda: rig.traces and stamps_of(rig.traces)[-1] == stamps[-1], "the last trace")
    assert stamps_of(rig.masks) == stamps
    trace = rig.traces[-1]
    points = np.array([(point.x, point.y) for point in trace.keypoints])
    assert np.abs(points - (85.0, 60.0)).max() < 12.0  # the square moves 7 px meanwhile
    labels: Any = np.frombuffer(rig.masks[-1].data, np.uint16).reshape(SIZE_HW)
    assert labels[60, 85] == trace.trace_id
    assert trace.trace_id in {caption.trace_id for caption in rig.captions}
    assert "frame_gaze_timeout" not in rig.drops()
