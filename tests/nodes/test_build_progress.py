"""A node that compiles a model while it is configured says how far it is, in its diagnostics."""

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from engine.runtime import load_engine
from engine.runtime.plan_progress import BuildProgress, OnProgress
from tests.nodes.conftest import Ros
from tests.nodes.rig import make_node
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.nodes import gaze_caption


def test_diagnostics_name_the_graph_that_is_built_and_each_tenth_once(
    ros: Ros, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_and_load(_model: str, backend: str, on_progress: OnProgress) -> Engine:
        assert backend == "tensorrt"
        for percent in range(25):
            on_progress(BuildProgress("mask", 5, 5, "Optimizing graph", percent / 100))
        return load_engine("fake")

    monkeypatch.setattr(gaze_caption, "load_engine", build_and_load)
    node = make_node(ros, backend="tensorrt")
    said: list[str] = []
    report = node._report

    def note(*arguments: Any) -> None:
        said.append(node._engine_state)
        report(*arguments)

    monkeypatch.setattr(node, "_report", note)
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_CONFIGURE
    assert ros.call(node, ChangeState, "/test/gaze_caption/change_state", request).success
    assert [state for state in said if state.startswith("building")] == [
        "building mask (5 of 5), 0%",
        "building mask (5 of 5), 10%",
        "building mask (5 of 5), 20%",
    ]
