"""Executors in threads end when told, idle or busy."""

import threading
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")

import rclpy
from rclpy.node import Node

from tests.nodes.conftest import WAIT_S, Ros
from tracevlm_ros.nodes.spin import ExecutorThread

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
