"""The real node's ends on the graph, for files that name topics."""

from typing import Any, NamedTuple

import pytest

from tests.nodes.conftest import ros_domain

__all__ = ["ros_domain"]
NAMESPACE = "/tracevlm"


class Ends(NamedTuple):
    """Full names of what a node publishes, subscribes and serves."""

    publishes: frozenset[str]
    subscribes: frozenset[str]
    serves: frozenset[str]


@pytest.fixture(scope="session")
def ends(ros_domain: int) -> dict[str, Ends]:
    """By node name: gaze_caption, active with every input it has, and the node of ``ask``."""
    import rclpy
    from rclpy.parameter import Parameter

    from tracevlm_ros.nodes.gaze_caption import GazeCaption

    values = {
        "model": "fake",
        "use_camera_info": True,
        "use_sim_time": True,
        "pipeline.drift.enabled": True,
    }
    rclpy.init(args=[])
    node = GazeCaption(
        namespace=NAMESPACE,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    try:
        node.trigger_configure()
        node.trigger_activate()
        return {name: ends_of(node, name) for name in ("gaze_caption", "gaze_caption_ask")}
    finally:
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()


def ends_of(node: Any, name: str) -> Ends:
    lists = (
        node.get_publisher_names_and_types_by_node(name, NAMESPACE),
        node.get_subscriber_names_and_types_by_node(name, NAMESPACE),
        node.get_service_names_and_types_by_node(name, NAMESPACE),
    )
    return Ends(*(frozenset(topic for topic, _ in pairs) for pairs in lists))
