"""Node processes: signals, exit statuses, shared memory, and bags that survive a round trip."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tests.graph.tiny_bag import write_tiny_bag
from tracevlm_ros.cli.dds import own_domain, remove_unused_segments, segments_of
from tracevlm_ros.cli.processes import NodeError, NodeGraph, ros_arguments
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import STORAGES, BagWriter
from tracevlm_ros.ingest.message_types import typestore

pytestmark = pytest.mark.graph


@pytest.fixture
def graph() -> Iterator[NodeGraph]:
    with own_domain() as domain_id, NodeGraph(domain_id=domain_id) as graph:
        yield graph


def until(condition: Callable[[], Any], what: str) -> None:
    limit_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < limit_s, f"{what} did not come"
        time.sleep(0.02)


def test_parameters_keep_their_types_on_the_command_line() -> None:
    values = {"text": "true", "flag": True, "count": 3, "share": 2.0, "path": Path("/a b")}
    words = ros_arguments(values, {"/a": "/b"}, namespace="x", name="y")
    assert words == [
        "--ros-args",
        *("-r", "/a:=/b"),
        *("-r", "__ns:=/x"),
        *("-r", "__node:=y"),
        *("-p", "text:='true'"),
        *("-p", "flag:=true"),
        *("-p", "count:=3"),
        *("-p", "share:=2.0"),
        *("-p", "path:='/a b'"),
    ]


def test_a_parameter_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing"):
        ros_arguments(params_file=tmp_path / "nothing.yaml")


def test_two_domains_taken_at_once_differ() -> None:
    with own_domain() as first, own_domain() as second:
        assert first != second


def test_a_played_bag_arrives_whole_and_unchanged(graph: NodeGraph, tmp_path: Path) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=10)
    recorder = graph.start("recorder", {"bag": tmp_path / "out", "topics": "/image,/gaze,/clock"})
    player = graph.start("player", {"bag": bag.path, "wait_for": "/image,/gaze", "rate": 2.0})
    graph.wait_for(player, 40.0)
    assert recorder.end() == 0
    with BagReader(bag.path) as given, BagReader(tmp_path / "out") as taken:
        for topic in ("/image", "/gaze"):
            sent = [bytes(record.raw) for record in given.records([topic])]
            got = [bytes(record.raw) for record in taken.records([topic])]
            assert len(got) == len(sent), topic
            # DDS pads a payload to a multiple of four bytes.
            assert all(g[: len(s)] == s for s, g in zip(sent, got, strict=True)), topic
        ticks = [record.decode().clock for record in taken.records(["/clock"])]
    times = [tick.sec * 1_000_000_000 + tick.nanosec for tick in ticks]
    assert times == sorted(times)
    assert bag.frame_stamps_ns[0] - 60_000_000 <= times[0] < times[-1]


def test_a_bag_played_a_hundred_times_faster_is_recorded_whole(
    graph: NodeGraph, tmp_path: Path
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=80)
    recorder = graph.start("recorder", {"bag": tmp_path / "out", "topics": "/image,/gaze"})
    wanted = {"bag": bag.path, "wait_for": "/image,/gaze", "rate": 100.0, "depth": 10}
    graph.wait_for(graph.start("player", wanted), 60.0)
    assert recorder.end() == 0
    with BagReader(tmp_path / "out") as reader:
        counts = {topic.name: topic.message_count for topic in reader.topics}
    assert counts == {"/image": len(bag.frame_stamps_ns), "/gaze": bag.gaze_count}


def test_playing_from_the_middle_tells_first_what_still_holds(
    graph: NodeGraph, tmp_path: Path
) -> None:
    text = typestore().types["std_msgs/msg/String"]
    with BagWriter(tmp_path / "in") as writer:
        writer.add_topic("/robot_description", "std_msgs/msg/String", latched=True)
        writer.write("/robot_description", text("<robot/>"), 1_000_000_000)
        for second in range(4):
            writer.write("/text", text(str(second)), (second + 1) * 1_000_000_000 + 1)
    topics = "/robot_description,/text"
    recorder = graph.start("recorder", {"bag": tmp_path / "out", "topics": topics})
    wanted = {"bag": tmp_path / "in", "wait_for": topics, "start_s": 2.0, "rate": 10.0}
    graph.wait_for(graph.start("player", wanted), 60.0)
    assert recorder.end() == 0
    with BagReader(tmp_path / "out") as reader:
        heard = [(record.topic, record.decode().data) for record in reader.records()]
    assert heard.count(("/robot_description", "<robot/>")) == 1
    assert [data for topic, data in heard if topic == "/text"] == ["2", "3"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_told_to_end_closes_its_bag(
    graph: NodeGraph, tmp_path: Path, number: signal.Signals
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=6)
    recorder = graph.start("recorder", {"bag": tmp_path / "out", "topics": "/gaze"})
    graph.start("player", {"bag": bag.path, "wait_for": "/gaze", "loop": True})
    until(lambda: any("recording /gaze" in line for line in recorder.last_lines), "the recording")
    until((tmp_path / "out").exists, "the bag")
    os.kill(recorder.pid, number)
    assert recorder.wait(20.0) == 0
    assert any("recorded" in line for line in recorder.last_lines)
    assert (tmp_path / "out" / "metadata.yaml").is_file()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recorder_that_is_killed_leaves_all_but_the_last_second(
    graph: NodeGraph, tmp_path: Path, storage: str
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=40)
    wanted = {"bag": tmp_path / "out", "topics": "/image,/gaze", "storage": storage}
    recorder = graph.start("recorder", {**wanted, "compress": False})
    graph.start("player", {"bag": bag.path, "wait_for": "/image,/gaze", "loop": True})
    until(lambda: size_of(tmp_path / "out") > 2_000_000, "two seconds of images")
    recorder_segments = segments_of(recorder.pid)
    killed_ns = time.time_ns()
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.wait(20.0)
    remove_unused_segments(recorder_segments)
    assert not (tmp_path / "out" / "metadata.yaml").exists()
    with BagReader(tmp_path / "out") as reader, BagReader(bag.path) as given:
        assert storage == "sqlite3" or reader.damage
        assert killed_ns - reader.end_ns < 1_000_000_000
        played = [record.decode().header.stamp for record in given.records(["/gaze"])]
        taken = [record.decode().header.stamp for record in reader.records(["/gaze"])]
    assert taken == [played[index % len(played)] for index in range(len(taken))]


def size_of(folder: Path) -> int:
    """Bytes of the files in ``folder``, as far as they reached the operating system."""
    return sum(file.stat().st_size for file in folder.glob("*"))


def test_a_recorder_whose_disk_is_full_stays_up_and_goes_on_when_there_is_room(
    graph: NodeGraph, tmp_path: Path
) -> None:
    bag = write_tiny_bag(tmp_path / "in", frames=20)
    recorder = graph.start(
        "recorder", {"bag": tmp_path / "out", "topics": "/gaze", "compress": False}
    )
    graph.start("player", {"bag": bag.path, "wait_for": "/gaze", "topics": "/gaze", "loop": True})

    def said(text: str) -> bool:
        return any(text in line for line in recorder.last_lines)

    until(lambda: said("recording /gaze"), "the recording")
    _, hard = resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (4096, hard))
    until(lambda: said("recording pauses"), "the pause")
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (hard, hard))
    until(lambda: said("recording goes on"), "the new part")
    until(lambda: any(f.stat().st_size > 8192 for f in tmp_path.glob("out_*/*")), "its messages")
    assert recorder.end() == 0
    assert said("the disk was full")
    with BagReader(max(tmp_path.glob("out_*/*.mcap"), key=lambda f: f.stat().st_size)) as reader:
        assert reader.message_count > 0


def test_a_player_without_a_readable_bag_ends_with_one_line(
    graph: NodeGraph, tmp_path: Path
) -> None:
    player = graph.start("player", {"bag": tmp_path / "nowhere"})
    with pytest.raises(NodeError, match="nowhere"):
        graph.wait_for(player, 30.0)
    assert player.status == 1
    assert len(player.last_lines) == 1


def test_a_recorder_does_not_overwrite(graph: NodeGraph, tmp_path: Path) -> None:
    recorder = graph.start("recorder", {"bag": tmp_path})
    with pytest.raises(NodeError, match="exists"):
        graph.wait_for(recorder, 30.0)


def test_shared_memory_of_a_killed_node_is_removed(graph: NodeGraph, tmp_path: Path) -> None:
    recorder = graph.start("recorder", {"bag": tmp_path / "out"})
    until(lambda: segments_of(recorder.pid), "its shared memory")
    until((tmp_path / "out").exists, "the bag")
    segments = segments_of(recorder.pid)
    os.kill(recorder.pid, signal.SIGKILL)
    assert recorder.wait(20.0) == -signal.SIGKILL
    assert any(path.exists() for path in segments)
    remove_unused_segments(segments)
    names = {path.name for path in segments}
    left = [path.name for path in Path("/dev/shm").iterdir() if any(n in path.name for n in names)]
    assert not left
