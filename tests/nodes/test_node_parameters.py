"""Parameters of the node: when they apply, and what is refused."""

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters

from tests.nodes.conftest import Ros
from tests.nodes.rig import Rig, make_node
from tracevlm_msgs.msg import Trace
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.nodes import convert, qos


def test_parameters_that_apply_at_configure_are_refused_while_configured(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros)
    assert rig.change(Transition.TRANSITION_CONFIGURE)
    for name, value in (("model", "nano"), ("pipeline.tracking.levels", 2)):
        result = rig.set_parameter(name, value)
        assert not result.successful, name
        assert "clean the node up first" in result.reason
    assert rig.set_parameter("publish_partial", False).successful
    assert rig.change(Transition.TRANSITION_CLEANUP)
    assert rig.set_parameter("pipeline.tracking.levels", 2).successful


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
    answer = ros.call(rig.node, DescribeParameters, f"{rig.name}/describe_parameters", request)
    linger, window, detector = answer.descriptors
    assert "closed trace" in linger.description
    (span,) = linger.floating_point_range
    assert (span.from_value, span.to_value) == (0.0, 600_000.0)
    (steps,) = window.integer_range
    assert (steps.from_value, steps.to_value, steps.step) == (5, 63, 2)
    assert "one of auto, dispersion, velocity" in detector.additional_constraints


def test_settings_of_the_pipeline_change_while_the_node_is_active(ros: Ros, rig: Rig) -> None:
    make_node(ros, max_gaze_wait_ms=20_000)
    traces: list[Trace] = []
    rig.node.create_subscription(Trace, "traces", traces.append, qos.reliable(100))
    rig.activate()
    ros.until(lambda: rig.node.count_publishers("traces"), "the traces publisher")

    def ids_on(stamp_ns: int) -> set[int]:
        """Of the traces published with the frame of ``stamp_ns``; they come together."""
        on_frame = [one for one in traces if convert.ns_of(one.header.stamp) == stamp_ns]
        return {one.trace_id for one in on_frame}

    left = rig.look(1, 10, 30.0)[-1]
    right = rig.look(11, 14, 130.0)[-1]
    ros.until(lambda: len(ids_on(right)) == 2, "two traces")
    old, new = sorted(ids_on(right))
    assert ids_on(left) == {old}
    refused = rig.set_parameter("pipeline.live.linger_ms", -1.0)
    assert not refused.successful
    assert "linger_ms" in refused.reason
    assert rig.set_parameter("pipeline.live.linger_ms", 0.0).successful
    last = rig.look(25, 3, 130.0)[-1]
    ros.until(lambda: ids_on(last) == {new}, "the closed trace to be gone")
    assert not rig.drops().get("frame_gaze_timeout")
    assert rig.set_parameter("max_gaze_wait_ms", 50).successful
    assert rig.set_parameter("pipeline.gaze_offset_ms", -300.0).successful
    rig.look(28, 2, 130.0)
    rig.until_dropped("frame_gaze_timeout")


def described(rig: Rig, *, after_ns: int = 0, until_ns: int = 2**63) -> set[int]:
    """Stamps of the frames that final captions describe."""
    stamps = {convert.ns_of(one.header.stamp) for one in rig.captions if one.is_final}
    return {stamp for stamp in stamps if after_ns < stamp <= until_ns}


def test_a_shorter_refresh_describes_a_trace_anew_while_it_stays_open(ros: Ros, rig: Rig) -> None:
    make_node(ros, **{"pipeline.live.refresh_ms": 600_000.0})
    rig.activate()
    before = rig.look(1, 20)[-1]
    ros.until(lambda: described(rig), "the first description")
    assert rig.set_parameter("pipeline.live.refresh_ms", 100.0).successful
    rig.look(21, 12)
    ros.until(lambda: len(described(rig, after_ns=before)) >= 2, "descriptions of the grown trace")
    assert len(described(rig, until_ns=before)) == 1
    assert {one.trace_id for one in rig.captions} == {1}
    assert all(one.trace_is_open for one in rig.captions)


def test_a_trace_shorter_than_the_least_dwell_is_described_once_that_is_lowered(
    ros: Ros, rig: Rig
) -> None:
    make_node(ros, **{"pipeline.live.min_dwell_ms": 10_000.0})
    rig.activate()
    before = rig.look(1, 12)[-1]
    assert rig.set_parameter("pipeline.live.min_dwell_ms", 150.0).successful
    rig.look(13, 4)
    ros.until(lambda: described(rig, after_ns=before), "the description")
    assert not described(rig, until_ns=before)
    assert rig.set_parameter("pipeline.live.min_dwell_ms", 10_000.0).successful
    first = max(one.trace_id for one in rig.captions)
    rig.look(17, 14, x=20.0)
    rig.look(31, 14, x=140.0)
    rig.until_dropped("trace_too_short")
    assert {one.trace_id for one in rig.captions} == {first}


def test_a_wrong_value_at_start_is_one_clear_error(ros: Ros) -> None:
    for overrides, told in (
        ({"image_depth": "many"}, "image_depth"),
        ({"gaze_type": "thought"}, "gaze_sample, point_stamped"),
        ({"pipeline.live.linger_ms": -1.0}, "linger_ms"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_node(ros, **overrides)
