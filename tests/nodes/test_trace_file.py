"""The trace file in the Trace Event Format: read back whole, cut off, full and from a real node."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.stopwatch import Stopwatch
from tracevlm_ros.nodes.trace_file import TraceFile


def make(path: Path, said: list[str], **limits: int) -> TraceFile:
    return TraceFile(path, "/test/gaze_caption", Problems(said.append), **limits)


def spans(events: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """(stage, start, end) in seconds; every pair must be whole."""
    begun = {event["id"]: event for event in events if event["ph"] == "b"}
    ended = {event["id"]: event for event in events if event["ph"] == "e"}
    assert begun.keys() == ended.keys()
    return [
        (event["name"], event["ts"] / 1e6, ended[key]["ts"] / 1e6) for key, event in begun.items()
    ]


def test_durations_and_events_of_a_stopwatch_are_written_as_they_are(tmp_path: Path) -> None:
    stopwatch, said = Stopwatch(), []
    stopwatch.listener = file = make(tmp_path / "trace.json", said)
    stopwatch.add("fast_path", 1.0, 1.25)
    stopwatch.add("gaze_wait", 1.125, 1.5)
    stopwatch.event("image", 2.0)
    file.close()
    file.close()
    stopwatch.add("fast_path", 3.0, 4.0)
    events = json.loads((tmp_path / "trace.json").read_text())
    assert spans(events) == [("fast_path", 1.0, 1.25), ("gaze_wait", 1.125, 1.5)]
    (named,) = [event for event in events if event["ph"] == "M"]
    assert (named["name"], named["args"]) == ("process_name", {"name": "/test/gaze_caption"})
    (instant,) = [event for event in events if event["ph"] == "i"]
    assert (instant["name"], instant["ts"]) == ("image", 2e6)
    assert {event["pid"] for event in events} == {os.getpid()}
    assert said == []


def test_a_file_without_its_end_lacks_only_the_bracket(tmp_path: Path) -> None:
    file = make(tmp_path / "trace.json", [])
    file.duration("fast_path", 1.0, 2.0)
    file.flush()
    text = (tmp_path / "trace.json").read_text()
    assert spans(json.loads(text + "]")) == [("fast_path", 1.0, 2.0)]


def test_a_full_file_ends_whole_and_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    file = make(tmp_path / "trace.json", said, max_bytes=2000)
    for index in range(100):
        file.duration("fast_path", float(index), index + 0.5)
    file.close()
    text = (tmp_path / "trace.json").read_text()
    assert len(text) <= 2000 + len("\n]\n")
    assert 3 < len(spans(json.loads(text))) < 100
    assert len(said) == 1
    assert "2000 bytes" in said[0]


def test_a_full_disk_is_one_line_and_no_error() -> None:
    said: list[str] = []
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    file = make(Path("/dev/full"), said)
    file.duration("fast_path", 1.0, 2.0)
    file.flush()
    file.duration("fast_path", 2.0, 3.0)
    file.close()
    assert len(said) == 1
    assert "/dev/full" in said[0]


def test_a_folder_that_is_not_there_is_refused_with_the_parameter_to_change(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="name another in trace_file"):
        make(tmp_path / "none" / "trace.json", [])


def test_the_node_writes_it_from_configure_to_cleanup(ros: Any, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
    from lifecycle_msgs.msg import Transition

    from tests.nodes.rig import Rig, make_node

    path = tmp_path / "trace.json"
    node = make_node(ros, trace_file=str(path))
    rig = Rig(ros)
    assert not path.exists()
    rig.activate()
    rig.look(0, 6)
    assert rig.change(Transition.TRANSITION_DEACTIVATE)
    assert rig.change(Transition.TRANSITION_CLEANUP)
    events = json.loads(path.read_text())
    stages = {stage for stage, _, _ in spans(events)}
    assert {"image_queue", "image_decode", "gaze_wait", "fast_path", "publish"} <= stages
    assert all(start <= end for _, start, end in spans(events))
    streams = {event["name"] for event in events if event["ph"] == "i"}
    assert {"image", "gaze", "masks"} <= streams
    assert node.stopwatch.listener is None
