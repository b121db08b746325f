"""ROS 2 in the test process: a DDS domain of its own, local discovery, its own log folder."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracevlm_ros.cli.dds import own_domain

WAIT_S = 20.0
LEASE_S = 60.0
"""Longer than Fast DDS believes in a participant that it hears no more of (20 s)."""


@pytest.fixture(scope="session")
def ros_domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Environment for every node of this process; skips where ROS 2 is not installed."""
    pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
    pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")
    with own_domain() as domain_id:
        wanted = {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(tmp_path_factory.mktemp("ros_log")),
        }
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        yield domain_id
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Ros:
    """Nodes served by one executor in a thread; ``until`` waits for a condition."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._rclpy = rclpy
        rclpy.init(args=[])
        self.executor = SingleThreadedExecutor()
        self.nodes: list[Any] = []
        self._clients: dict[tuple[Any, str], Any] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        with contextlib.suppress(ExternalShutdownException):
            self.executor.spin()

    def add(self, node: Any) -> Any:
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    @staticmethod
    def until(
        condition: Callable[[], Any], what: str = "the condition", wait_s: float = WAIT_S
    ) -> Any:
        """The first true value of ``condition``; fails when none comes in time."""
        limit_s = time.monotonic() + wait_s
        while not (value := condition()):
            assert time.monotonic() < limit_s, f"{what} did not come within {wait_s:.0f} s"
            time.sleep(0.01)
        return value

    def call(self, node: Any, service_type: Any, name: str, request: Any) -> Any:
        """The response of a service, by one client of ``node`` for all calls.

        A client that was ready once is taken at its word: a server that has gone may be counted
        for as long as its lease lasts, and "ready" means that the counts agree.
        """
        client = self._clients.get((node, name))
        if client is None:
            client = node.create_client(service_type, name)
            self.until(client.service_is_ready, f"service {name}", LEASE_S)
            self._clients[node, name] = client
        future = client.call_async(request)
        self.until(future.done, f"the response of {name}")
        return future.result()

    def close(self) -> None:
        for node in self.nodes:
            if hasattr(node, "close"):
                node.close()
        self.executor.shutdown()
        self._thread.join(WAIT_S)
        self._clients.clear()
        for node in self.nodes:
            node.destroy_node()
        self._rclpy.try_shutdown()


@pytest.fixture
def ros(ros_domain: int) -> Iterator[Ros]:
    ros = Ros()
    yield ros
    ros.close()


@pytest.fixture
def rig(ros: Ros) -> Any:
    """A ``tests.nodes.rig.Rig`` in this process."""
    from tests.nodes.rig import Rig

    return Rig(ros)


@pytest.fixture
def no_model(tmp_path: Path) -> Path:
    """A model directory whose manifest is cut off."""
    (tmp_path / "manifest.json").write_text('{"version": 1, "graphs": {"vis')
    return tmp_path
