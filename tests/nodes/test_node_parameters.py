"""Parameters of the node: when they apply, and what is refused."""

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters

from tests.nodes.conftest import Ros
from tests.nodes.rig import NAME, Rig, make_node
from tracevlm_ros.core.errors import ConfigError


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
        ("pipeline.live.max_traces", 0, "Min: 1, Max: 64"),
        ("pipeline.tracking.window_px", 14, "step: 2"),
        ("pipeline.geometry.metric", "taxi", "segment, line"),
        ("pipeline.drift.min_agreements", 16, "from 1 to 15"),
        ("autostart", True, "read-only"),
    ):
        result = rig.set_parameter(name, value)
        assert not result.successful, name
        assert told in result.reason


def test_a_setting_of_the_pipeline_is_described_with_its_range(ros: Ros, rig: Rig) -> None:
    make_node(ros)
    request = DescribeParameters.Request(
        names=["pipeline.live.linger_ms", "pipeline.tracking.window_px", "pipeline.trace.detector"]
    )
    answer = ros.call(rig.node, DescribeParameters, f"{NAME}/describe_parameters", request)
    linger, window, detector = answer.descriptors
    assert "closed trace" in linger.description
    (span,) = linger.floating_point_range
    assert (span.from_value, span.to_value) == (0.0, 600_000.0)
    (steps,) = window.integer_range
    assert (steps.from_value, steps.to_value, steps.step) == (5, 63, 2)
    assert "one of auto, dispersion, velocity" in detector.additional_constraints


def test_a_wrong_value_at_start_is_one_clear_error(ros: Ros) -> None:
    for overrides, told in (
        ({"image_depth": "many"}, "image_depth"),
        ({"gaze_type": "thought"}, "gaze_sample, point_stamped"),
        ({"pipeline.live.linger_ms": -1.0}, "linger_ms"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_node(ros, **overrides)
