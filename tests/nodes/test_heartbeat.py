"""Signs of life as a supervisor in another participant sees them."""

import threading
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

import rclpy
from lifecycle_msgs.msg import State
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tests.nodes.conftest import Ros
from tests.nodes.rig import make_node
from tracevlm_ros.nodes.heartbeat import profile


class Supervisor:
    """Hears the heart with a lease; in a context and a thread of its own."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.node = Node("supervisor", namespace="test", context=self.context)
        self.beats: list[str] = []
        self.alive = 0
        self.node.create_subscription(
            State,
            "gaze_caption/heartbeat",
            lambda beat: self.beats.append(beat.label),
            profile(),
            event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_liveliness),
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_liveliness(self, event: Any) -> None:
        self.alive = event.alive_count

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def supervisor(ros: Ros) -> Any:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


def test_the_heart_tells_the_state_and_stops_when_the_executor_hangs(
    ros: Ros, supervisor: Supervisor
) -> None:
    node = make_node(ros)
    ros.until(lambda: "unconfigured" in supervisor.beats, "a beat")
    ros.until(lambda: supervisor.alive == 1, "liveliness")
    node.trigger_configure()
    ros.until(lambda: "inactive" in supervisor.beats, "a beat of the new state")
    release = threading.Event()
    hung = node.create_timer(0.001, lambda: release.wait(60.0))
    try:
        ros.until(lambda: supervisor.alive == 0, "the end of liveliness")
    finally:
        release.set()
        node.destroy_timer(hung)
    ros.until(lambda: supervisor.alive == 1, "liveliness again")
