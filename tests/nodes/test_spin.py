"""Executors in threads end when told, idle or busy."""

import signal
import threading
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from tests.nodes.conftest import WAIT_S, Ros
from tracevlm_ros.nodes.spin import (
    ExecutorThread,
    ServedNode,
    StopRequest,
    StopSignals,
    run_with_ros,
)

ROUNDS = 100


def end_in_time(thread: ExecutorThread) -> None:
    ending = threading.Thread(target=thread.end, daemon=True)
    ending.start()
    ending.join(WAIT_S)
    assert not ending.is_alive(), "an executor did not end"


def test_an_idle_executor_ends_every_time(ros: Ros) -> None:
    node = Node("idle", start_parameter_services=False, enable_rosout=False)
    for _ in range(ROUNDS):
        end_in_time(ExecutorThread(node, lambda _error: None, "idle"))
    node.destroy_node()


def test_a_callback_that_raises_is_told_and_ends_the_thread(ros: Ros) -> None:
    node = Node("broken", start_parameter_services=False, enable_rosout=False)
    errors: list[Any] = []

    def fail() -> None:
        raise ValueError("a bug")

    node.create_timer(0.001, fail)
    thread = ExecutorThread(node, errors.append, "broken")
    ros.until(lambda: errors, "the error")
    assert "a bug" in str(errors[0])
    end_in_time(thread)
    node.destroy_node()
    assert rclpy.ok()


def test_an_executor_that_is_told_to_end_between_two_waits_does_not_wait_again(
    ros: Ros, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``monitor`` is when it has just said that the graph is idle."""
    between, told = threading.Event(), threading.Event()
    nodes_now, join_now = SingleThreadedExecutor.get_nodes, threading.Thread.join

    def nodes_when_told(executor: SingleThreadedExecutor) -> Any:
        """rclpy asks for the nodes when it has seen that it should go on, before it waits."""
        nodes = nodes_now(executor)
        if threading.current_thread().name == "between":
            between.set()
            assert told.wait(WAIT_S)
        return nodes

    def tell_and_join(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "between":
            told.set()
        join_now(thread, timeout)

    monkeypatch.setattr(SingleThreadedExecutor, "get_nodes", nodes_when_told)
    monkeypatch.setattr(threading.Thread, "join", tell_and_join)
    node = Node("between", start_parameter_services=False, enable_rosout=False)
    node.create_subscription(String, "silent", lambda _message: None, 1)
    thread = ExecutorThread(node, lambda _error: None, "between")
    assert between.wait(WAIT_S)
    end_in_time(thread)
    node.destroy_node()


def test_ros_arguments_that_cannot_be_read_are_one_line(
    ros_domain: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    words = ["node", "--ros-args", "-r", "/image:=/9a/b"]
    assert run_with_ros(lambda: 0, lambda: None, words) == 1
    (ours,) = [line for line in capfd.readouterr().err.splitlines() if "[tracevlm]" in line]
    assert "/image:=/9a/b" in ours
    assert ", at /" not in ours


def test_a_signal_that_a_launcher_passes_on_once_more_does_not_kill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bag is closed meanwhile. One that comes later does, and SIGTERM after SIGINT does not."""
    now_s, stopped, killed, defaults = [10.0], [], [], []
    monkeypatch.setattr(signal, "signal", lambda *words: defaults.append(words))
    handle = StopSignals(lambda: stopped.append(1), lambda: now_s[0], killed.append)
    handle(signal.SIGINT, None)
    now_s[0] += 0.9
    handle(signal.SIGINT, None)
    now_s[0] += 5.0
    handle(signal.SIGTERM, None)
    assert len(stopped) == 3
    assert killed == defaults == []
    handle(signal.SIGINT, None)
    assert killed == [signal.SIGINT]
    assert defaults == [(signal.SIGINT, signal.SIG_DFL)]


def test_no_callback_runs_any_more_when_a_node_is_closed(ros: Ros) -> None:
    """What ``close`` destroys would else be missed by an executor that is about to wait for it."""
    executors: list[threading.Thread] = []

    class Busy(Node):  # type: ignore[misc]
        def __init__(self, _stop: StopRequest) -> None:
            super().__init__("busy", start_parameter_services=False, enable_rosout=False)
            self.turned = threading.Event()
            self.create_timer(0.001, self.turned.set)

        def close(self) -> None:
            executors.extend(t for t in threading.enumerate() if t.name == "executor")
            assert rclpy.ok()

    served = ServedNode(Busy, StopRequest())
    assert served.node.turned.wait(WAIT_S)
    served.end()
    assert served.stop.status == 0
    assert executors == []
