"""`tracevlm view --live` beside a real graph: player, gaze_caption and the viewer as processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tests.cli.test_view import times_of
from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli import dds
from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.cli.live_graph import GraphOptions, LiveGraph, keep_all

pytestmark = pytest.mark.graph


@pytest.fixture
def rerun() -> Any:
    return pytest.importorskip("rerun", reason="rerun-sdk (extra [view]) is not installed")


def test_a_running_graph_is_shown_with_every_layer_at_the_stamps_of_its_frames(
    rerun: Any, tmp_path: Path
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=60)
    plan = plan_bag(bag.path, "left")
    file = tmp_path / "live.rrd"
    with own_domain() as domain_id:
        options = GraphOptions(
            namespace="left",
            model="fake",
            parameters={**keep_all("left"), "gaze_type": plan.gaze_type},
            use_sim_time=True,
            domain_id=domain_id,
        )
        words = ["view", "--live", "--namespace", "left", "--save", str(file)]
        with LiveGraph(options, lambda _caption: None, lambda _node, _line: None) as graph:
            viewer = subprocess.Popen(
                [sys.executable, "-m", "tracevlm_ros.cli.main", *words],
                env=dds.environment(domain_id),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                assert viewer.stderr is not None
                until_line(viewer, "waiting for images in /left")
                player = {"bag": bag.path, "wait_for": plan.wait_for, "rate": 0.5}
                graph.play("player", player, remappings=plan.remappings)
                graph.finish()
                viewer.send_signal(signal.SIGINT)
                told, _ = viewer.communicate(timeout=30.0)
            finally:
                viewer.kill()
    times = times_of(rerun, file)
    shown = times["/scene/video"]
    assert told == f"{len(shown)} frames in {file}\n"
    assert viewer.returncode == 0
    assert len(shown) > 20  # the player waits for gaze_caption, not for the viewer
    assert set(shown) <= set(bag.frame_stamps_ns)
    assert len(times["/scene/masks"]) > 20
    assert set(times["/scene/masks"]) <= set(shown)
    assert set(times["/captions/final"]) <= set(bag.frame_stamps_ns)
    assert times["/captions/final"]
    assert len(times["/scene/gaze"]) > len(shown)
    assert times["/attention"]


def until_line(process: subprocess.Popen[str], text: str) -> None:
    """Read its log until it says ``text``; its subscriptions are made by then."""
    limit_s = time.monotonic() + 60.0
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
        assert time.monotonic() < limit_s, text
    raise AssertionError(f"the viewer ended without saying {text!r}")
