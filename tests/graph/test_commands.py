"""``tracevlm record``, ``replay`` and ``convert`` as a person types them, with real nodes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from tests.graph.test_replay_keys import COMMAND
from tests.graph.tiny_bag import FRAME_NS, START_NS, TinyBag, write_tiny_bag
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import BagWriter

pytestmark = pytest.mark.graph

WAIT_S = 60.0


class Shell:
    """Runs ``tracevlm ...`` in a DDS domain of its own; ``log`` holds what a command says."""

    def __init__(self, folder: Path, domain_id: int) -> None:
        self.folder = folder
        self.domain = ["--domain", str(domain_id)]
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", COMMAND, *map(str, words)]
        with self.log(words[0]).open("w") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._started.append(process)
        return process

    def run(self, *words: str | Path) -> int:
        return self.start(*words).wait(WAIT_S)

    def log(self, command: str | Path) -> Path:
        return self.folder / f"{command}.log"

    def record(self, *words: str | Path) -> "subprocess.Popen[bytes]":
        """``tracevlm record`` once its bag is there."""
        process = self.start("record", self.folder / "out", *words, *self.domain)
        limit_s = time.monotonic() + WAIT_S
        while not any((self.folder / "out").glob("*.*")):
            assert time.monotonic() < limit_s, self.log("record").read_text()
            time.sleep(0.02)
        return process

    def replay(self, *words: str | Path) -> int:
        return self.run("replay", self.folder / "in", "--rate", "20", *words, *self.domain)

    def finish(self, recorder: "subprocess.Popen[bytes]") -> dict[str, list[int]]:
        """Ctrl-C; the log times by topic in the recorded bag."""
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(WAIT_S) == 0, self.log("record").read_text()
        found: dict[str, list[int]] = {}
        with BagReader(self.folder / "out") as reader:
            for topic in reader.topics:
                found[topic.name] = []
            for record in reader.records():
                found[record.topic].append(record.log_ns)
        return found

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._started:
            process.wait(WAIT_S)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with own_domain() as domain_id:
        found = Shell(tmp_path, domain_id)
        yield found
        found.end()


@pytest.fixture
def bag(tmp_path: Path) -> TinyBag:
    return write_tiny_bag(tmp_path / "in", frames=20)


def test_topics_are_played_under_another_name_and_recorded_without_a_clock(
    shell: Shell, bag: TinyBag
) -> None:
    recorder = shell.record("/seen", "/image", "/clock", "--storage", "sqlite3")
    assert shell.replay("--topics", "/gaze", "--remap", "/gaze:=/seen", "--no-clock") == 0
    found = shell.finish(recorder)
    assert {topic: len(times) for topic, times in found.items()} == {"/seen": bag.gaze_count}
    assert list((shell.folder / "out").glob("*.db3"))


def test_a_replay_begins_in_the_middle_and_speaks_to_the_graph_of_a_namespace(
    shell: Shell, bag: TinyBag
) -> None:
    recorder = shell.record("/there/image", "/there/gaze", "/clock", "--sim-time")
    assert shell.replay("--to", "there", "--start", "0.52", "--duration", "0.25") == 0
    found = shell.finish(recorder)
    # Frame i lies (i + 1) frame times after the first sample of gaze: 0.55 ... 0.75 s.
    assert len(found["/there/image"]) == 5
    start_ns, stop_ns = START_NS + 520_000_000, START_NS + 770_000_000
    assert found["/clock"]
    for times in found.values():
        assert all(start_ns - FRAME_NS <= at_ns <= stop_ns + FRAME_NS for at_ns in times)
    assert 25 <= len(found["/there/gaze"]) <= 31


def test_a_bag_of_sqlite3_is_played_whole(shell: Shell, bag: TinyBag) -> None:
    moved = bag.path.rename(shell.folder / "mcap")
    with BagReader(moved) as reader, BagWriter(shell.folder / "in", "sqlite3") as writer:
        for record in reader.records():
            writer.write_raw(record.topic, record.msgtype, record.log_ns, bytes(record.raw))
    recorder = shell.record("/there/image", "/there/gaze")
    assert shell.replay("--to", "there") == 0
    found = shell.finish(recorder)
    counts = {topic: len(times) for topic, times in found.items()}
    assert counts == {"/there/image": len(bag.frame_stamps_ns), "/there/gaze": bag.gaze_count}


def test_a_recording_ends_after_its_duration(shell: Shell) -> None:
    assert shell.run("record", shell.folder / "out", "--duration", "2", *shell.domain) == 0
    assert (shell.folder / "out" / "metadata.yaml").is_file()
    assert "recorded" in shell.log("record").read_text()


def test_what_cannot_be_done_is_one_line_and_status_1(shell: Shell, bag: TinyBag) -> None:
    assert shell.replay("--remap", "/gaze=/seen") == 1
    assert "--remap is '/gaze=/seen'; it must be FROM:=TO" in shell.log("replay").read_text()
    assert shell.replay("--topics", "/nothing") == 1
    assert "has no topic /nothing; it has /gaze, /image" in shell.log("replay").read_text()
    assert shell.run("record", shell.folder, *shell.domain) == 1
    assert "exists and is not overwritten" in shell.log("record").read_text()


def test_a_recording_of_gaze_becomes_a_bag_that_can_be_played(shell: Shell) -> None:
    rows = [f"{70_000_000_000 + index * 10_000_000},{index},{index}" for index in range(50)]
    table = shell.folder / "gaze.csv"
    table.write_text("\n".join(["stamp_ns,x_px,y_px", *rows]) + "\n")
    words = ("--size", "64x48", "--storage", "sqlite3", "--json")
    assert shell.run("convert", table, shell.folder / "in", *words) == 0
    told = json.loads(shell.log("convert").read_text())
    assert told["counts"] == {"/gaze": 50}
    assert Path(told["path"]) == shell.folder / "in"
    assert shell.run("convert", table, shell.folder / "in", *words) == 1
    assert "exists" in shell.log("convert").read_text()
    assert shell.run("convert", table, shell.folder / "other", "--size", "64") == 1
    assert "--size is '64'; it must be WxH" in shell.log("convert").read_text()
    recorder = shell.record("/gaze")
    assert shell.replay() == 0
    assert len(shell.finish(recorder)["/gaze"]) == 50
