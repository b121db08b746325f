"""Inputs that lack, are broken, or come from peers that do not fit."""

import math

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from geometry_msgs.msg import PointStamped
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image

from tests.graph.tiny_bag import START_NS
from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node, stamps_of, stranger
from tracevlm_ros.nodes import qos


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


def test_camera_info_without_calibration_is_counted_and_leaves_the_angles(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros, use_camera_info=True)
    rig.activate()
    ros.until(rig.camera_info.get_subscription_count, "the camera_info subscription")
    for count, focal_px in enumerate((0.0, math.nan), start=1):
        rig.send_focal(focal_px)
        rig.until_dropped("camera_info_without_focal", count)
    rig.look(1, 14)
    rig.look(15, 14, x=20.0)
    ros.until(lambda: "from_1_to_2_gap_s" in rig.attention(), "the second trace")


def test_a_focal_length_that_comes_during_a_trace_does_not_end_it(ros: Ros, rig: Rig) -> None:
    """65 px are 2 degrees of this lens: one act of attention."""
    make_node(ros, use_camera_info=True)
    rig.activate()
    ros.until(rig.camera_info.get_subscription_count, "the camera_info subscription")
    rig.look(1, 10)
    rig.send_focal(1862.0)
    rig.look(11, 10)
    rig.look(21, 10, x=20.0)
    ros.until(lambda: rig.attention().get("trace_1_dwell_s", 0.0) > 1.2, "one trace of all")
    assert set(rig.attention()) == {"trace_1_dwell_s"}


def test_camera_info_of_larger_images_is_scaled_to_those_that_come(ros: Ros, rig: Rig) -> None:
    """A lens of 14896 px in images eight times as large is one of 1862: 65 px are 2 degrees."""
    make_node(ros, use_camera_info=True)
    rig.activate()
    ros.until(rig.camera_info.get_subscription_count, "the camera_info subscription")
    rig.send_focal(400.0, (960, 1280))
    rig.look(1, 10)
    rig.look(11, 14, x=20.0)
    ros.until(lambda: "from_1_to_2_gap_s" in rig.attention(), "two traces, 74 degrees apart")
    rig.send_focal(14_896.0, (960, 1280))
    rig.look(25, 10)
    ros.until(lambda: rig.attention().get("trace_2_dwell_s", 0.0) > 1.0, "one trace of all")
    assert set(rig.attention()) == {"trace_1_dwell_s", "trace_2_dwell_s", "from_1_to_2_gap_s"}


def test_camera_info_of_another_shape_is_told_and_leaves_the_angles(ros: Ros, rig: Rig) -> None:
    node = make_node(ros, use_camera_info=True)
    said: list[str] = []
    node.problems = node.problems.__class__(said.append)
    rig.activate()
    ros.until(rig.camera_info.get_subscription_count, "the camera_info subscription")
    rig.send_focal(1862.0, (720, 1280))
    rig.look(1, 14)
    rig.look(15, 14, x=20.0)
    ros.until(lambda: "from_1_to_2_gap_s" in rig.attention(), "the second trace")
    rig.until_dropped("camera_info_other_shape", 2)
    assert "1280x720" in said[0]
    assert "160x120" in said[0]


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
