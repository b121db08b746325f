"""The recorder in this process, with real DDS: its losses, and publishers that come later."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
pytest.importorskip("tracevlm_msgs", reason="the message package is not installed")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from tests.ingest.test_bag_parts import largest_file
from tests.nodes.conftest import Ros
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest import bag_parts
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.nodes import qos
from tracevlm_ros.nodes.recorder import Recorder
from tracevlm_ros.nodes.spin import StopRequest


class Talker:
    """Says numbers on ``/test/text``; hears what the recorder says of itself."""

    def __init__(self, ros: Ros) -> None:
        self.ros = ros
        self.node: Node = ros.add(Node("talker", namespace="test"))
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.reliable(10)
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name.rpartition("test/recorder: ")[2]] = status

    def is_at(self, level: bytes) -> bool:
        return "device" in self.statuses and self.statuses["device"].level == level

    def drops(self) -> dict[str, int]:
        status = self.statuses.get("drops", DiagnosticStatus())
        return {pair.key: int(pair.value) for pair in status.values}

    def voice(self, profile: QoSProfile) -> Any:
        """A publisher that the recorder hears."""
        voice = self.node.create_publisher(String, "text", profile)
        self.ros.until(voice.get_subscription_count, "the recorder's subscription")
        return voice


@pytest.fixture
def talker(ros: Ros) -> Talker:
    return Talker(ros)


Start = Callable[..., Recorder]


@pytest.fixture
def start(ros: Ros, tmp_path: Path) -> Start:
    def start_recorder(**parameters: Any) -> Recorder:
        values = {"bag": str(tmp_path / "bag"), "topics": "text", **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node: Recorder = ros.add(
            Recorder(StopRequest(), namespace="test", parameter_overrides=overrides)
        )
        return node

    return start_recorder


def count_of(bag: Path) -> int:
    """Messages that can be read of a bag that may have been cut off before the first."""
    try:
        return len(heard(bag))
    except InputError as error:
        assert "holds no messages" in str(error)
        return 0


def heard(bag: Path) -> list[str]:
    with BagReader(bag) as reader:
        return [record.decode().data for record in reader.records(["/test/text"])]


@pytest.mark.parametrize("first", [qos.reliable(10), qos.latched(10)], ids=["reliable", "latched"])
def test_a_publisher_that_comes_later_and_offers_less_is_recorded_too(
    talker: Talker, start: Start, tmp_path: Path, first: QoSProfile
) -> None:
    recorder = start()
    said: list[str] = []
    logger = recorder.get_logger()
    logger.warning = said.append
    recorder.get_logger = lambda: logger
    early = talker.voice(first)
    early.publish(String(data="early"))
    talker.ros.until(lambda: recorder.written == 1, "the first message")
    late = talker.node.create_publisher(String, "text", qos.sensor(10))
    talker.ros.until(lambda: said, "the warning")
    talker.ros.until(lambda: late.get_subscription_count() == 1, "the new subscription alone")
    talker.ros.until(lambda: early.get_subscription_count() == 1, "the same of the first")
    assert len(said) == 1
    for part in ("/test/text", "/test/talker", "offered best_effort, requested reliable"):
        assert part in said[0]
    late.publish(String(data="late"))
    talker.ros.until(lambda: recorder.written == 2, "the late publisher's message")
    early.publish(String(data="early again"))
    talker.ros.until(lambda: recorder.written == 3, "the first publisher's message")
    recorder.close()
    assert heard(tmp_path / "bag") == ["early", "late", "early again"]


def test_what_a_full_disk_loses_is_in_diagnostics(
    talker: Talker, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**12]
    monkeypatch.setattr(bag_parts, "shutil", SimpleNamespace(disk_usage=lambda _: usage(free[0])))
    recorder = start()
    voice = talker.voice(qos.reliable(10))
    talker.ros.until(lambda: talker.is_at(DiagnosticStatus.OK), "recording")
    free[0] = 0
    talker.ros.until(lambda: talker.is_at(DiagnosticStatus.ERROR), "the pause")
    assert talker.statuses["device"].message == "paused: the disk is full"
    for _ in range(3):
        voice.publish(String(data="lost"))
    talker.ros.until(lambda: talker.drops().get("message_disk_full") == 3, "the losses")
    assert talker.statuses["drops"].level == DiagnosticStatus.WARN
    free[0] = 10**12
    talker.ros.until(lambda: talker.is_at(DiagnosticStatus.OK), "recording again")
    voice.publish(String(data="kept"))
    talker.ros.until(lambda: recorder.written == 1, "a message with room")


def usage(free: int) -> Any:
    return shutil._ntuple_diskusage(10**12, 10**12 - free, free)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_a_failed_write_has_cut_off_is_counted_as_lost(
    talker: Talker, start: Start, tmp_path: Path, storage: str
) -> None:
    """The kernel refuses files of more than 300 kB: every message sent is in a bag or counted."""
    recorder = start(storage=storage, compress=False, min_free_mb=0)
    voice = talker.voice(qos.reliable(20))
    with largest_file(300_000):
        for _ in range(20):
            voice.publish(String(data="x" * 50_000))
        talker.ros.until(lambda: talker.is_at(DiagnosticStatus.ERROR), "the pause")
        talker.ros.until(lambda: recorder.written + recorder.drops.total() == 20, "all of them")
    recorder.close()
    kept = sum(map(count_of, tmp_path.glob("bag*")))
    assert kept == recorder.written
    assert kept + recorder.drops["message_disk_full"] == 20


def test_what_a_slow_disk_loses_is_in_diagnostics(
    talker: Talker, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    whole = bag_parts.BagParts.write_raw

    def write_raw(*words: Any) -> bool:
        assert gate.wait(60.0)
        return whole(*words)

    monkeypatch.setattr(bag_parts.BagParts, "write_raw", write_raw)
    recorder = start(max_waiting_mb=1)
    voice = talker.voice(qos.reliable(10))
    try:
        for _ in range(4):  # at most one is being written and one waits
            voice.publish(String(data="x" * 600_000))
        lost = talker.ros.until(lambda: talker.drops().get("message_disk_too_slow"), "the losses")
    finally:
        gate.set()
    talker.ros.until(lambda: recorder.written == 4 - lost, "what waited")
    assert lost >= 2
