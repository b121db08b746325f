"""Pupil Core live, against a publisher of Pupil's messages in another process."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from math import isnan, nan
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from tests.ingest.live_rig import QUICK, Collector, until
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.live_device import DeviceConfig
from tracevlm_ros.ingest.pupil_core_live import PupilCoreConfig, PupilCoreLink

CLOCK_LIMIT_NS = 20_000_000
"""Far more than the few tens of microseconds seen; far less than any offset used here."""


class Peer:
    """The process of ``pupil_capture.py``."""

    def __init__(self, port: int = 0, offset_s: float = 5000.0, drift: float = 0.0) -> None:
        script = Path(__file__).with_name("pupil_capture.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(port), str(offset_s), str(drift)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def send(self, datum: Any) -> None:
        self.tell(f"send {msgpack.packb(datum).hex()}")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def link(self) -> PupilCoreLink:
        return PupilCoreLink(PupilCoreConfig(port=self.port, answer_s=0.3))


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start_peer(*arguments: Any) -> Peer:
        peers.append(Peer(*arguments))
        return peers[-1]

    yield start_peer
    for peer in peers:
        peer.kill()


def stamp_error_ns(sample: GazeSample) -> int:
    """The stamp against the time of measurement that the peer tells in x."""
    error_ns = sample.stamp_ns - round(sample.x_px * 100e9)
    return (error_ns + 50_000_000_000) % 100_000_000_000 - 50_000_000_000


def good(**changes: Any) -> dict[str, Any]:
    return {"norm_pos": [0.5, 0.5], "timestamp": 5000.0, "confidence": 1.0} | changes


def test_gaze_has_local_stamps_a_flipped_y_and_its_confidence(start: Callable[..., Peer]) -> None:
    with Collector(start().link()) as collector:
        samples = collector.wait_for(50)
    assert {sample.y_px for sample in samples} == {0.75}
    assert {sample.confidence for sample in samples} == {0.875}
    assert max(abs(stamp_error_ns(sample)) for sample in samples) < CLOCK_LIMIT_NS
    stamps = [sample.stamp_ns for sample in samples]
    assert stamps == sorted(set(stamps))


def test_the_clock_is_measured_by_request_and_response(start: Callable[..., Peer]) -> None:
    with Collector(start(0, 123_456.0, 0.0).link()) as collector:
        collector.wait_for(10)
        report = until(collector.device.clock_report, "a report")
        first = report.pair_count
        until(lambda: collector.device.clock_report().pair_count >= first + 3, "more exchanges")  # type: ignore[union-attr]
        report = collector.device.clock_report()
        newest = collector.samples[-1]
    assert report is not None
    assert report.is_exchange
    assert report.jump_count == 0
    true_ns = newest.stamp_ns - 123_456_000_000_000
    assert 0 <= true_ns - report.offset_ns < 60_000_000_000  # the peer's clock began at 123456 s


def test_messages_that_are_no_readings_are_counted_and_survived(
    start: Callable[..., Peer],
) -> None:
    peer = start()
    with Collector(peer.link()) as collector:
        collector.wait_for(5)
        peer.tell("send c1c1c1")
        peer.tell("send 81a8")
        peer.tell("single")
        peer.send([1, 2, 3])
        peer.send({"timestamp": 5000.0})
        peer.send({"norm_pos": [0.5, 0.5]})
        peer.send(good(norm_pos=[0.5]))
        peer.send(good(norm_pos="far left"))
        peer.send(good(timestamp=nan))
        peer.send(good(timestamp="now"))
        peer.send(good(timestamp=1e12))
        peer.send(good(timestamp=1e6))
        wanted = {
            "gaze_malformed": 6,
            "gaze_key_missing": 2,
            "gaze_stamp_invalid": 3,
            "gaze_stamp_implausible": 1,
        }
        until(lambda: sum(collector.device.drops.values()) == sum(wanted.values()), "12 drops")
        collector.wait_for(5)
    assert dict(collector.device.drops) == wanted
    assert len(collector.events) == 1


def test_a_place_that_is_nan_becomes_lost_gaze_and_is_counted(start: Callable[..., Peer]) -> None:
    peer = start()
    with Collector(peer.link()) as collector:
        collector.wait_for(1)
        peer.tell("pause")
        peer.send(good(norm_pos=[nan, 0.5]))
        lost = until(lambda: [s for s in collector.samples if isnan(s.x_px)], "lost gaze")
    assert isnan(lost[0].y_px)
    assert lost[0].confidence == 0.0
    assert collector.device.drops["gaze_place_not_finite"] == 1


@pytest.mark.parametrize("told, taken", [(nan, 0.0), (7.0, 1.0), (-1.0, 0.0), ("sure", 0.0)])
def test_a_confidence_out_of_bounds_is_bounded(told: Any, taken: float) -> None:
    from tracevlm_ros.ingest.live_device import Message

    payload = msgpack.packb(good(confidence=told))
    assert PupilCoreLink().decode(Message(payload, 0)).confidence == taken


def test_of_a_flood_what_cannot_wait_is_counted_and_nothing_else_is_lost(
    start: Callable[..., Peer],
) -> None:
    peer = start()
    config = DeviceConfig(silence_s=5.0, queue_depth=16)
    flood = 900  # below ZMQ's own limit of 1000, behind which the publisher drops unseen
    with Collector(peer.link(), config) as collector:
        collector.wait_for(5)
        peer.tell("pause")
        peer.tell(f"flood {flood}")
        dropped = collector.device.drops

        def accounted() -> int:
            return len(collector.samples) + dropped["gaze_queue_full"]

        until(lambda: accounted() >= flood + 5, "the whole flood")
        assert dropped["gaze_queue_full"] > 100
        peer.tell("resume")
        samples = collector.wait_for(5)
    assert abs(stamp_error_ns(samples[-1])) < CLOCK_LIMIT_NS
    assert set(dropped) == {"gaze_queue_full"}


def test_a_peer_that_vanishes_and_returns_with_another_clock_is_found_again(
    start: Callable[..., Peer],
) -> None:
    first = start(0, 5000.0)
    with Collector(first.link()) as collector:
        collector.wait_for(5)
        first.kill()
        until(lambda: collector.device.state.startswith("failed"), "the failure")
        second = start(first.port, 90_000.0)
        assert second.port == first.port
        samples = collector.wait_for(20)
        assert collector.device.state == "receiving"
    assert max(abs(stamp_error_ns(sample)) for sample in samples) < CLOCK_LIMIT_NS
    assert collector.device.drops["device_silent"] == 1
    assert any("connecting again" in event for event in collector.events)
    assert collector.events[-1].endswith("receiving gaze")


def test_a_peer_that_stalls_is_told_of_and_taken_up_again(start: Callable[..., Peer]) -> None:
    peer = start()
    with Collector(peer.link()) as collector:
        collector.wait_for(5)
        peer.tell("pause")
        until(lambda: collector.device.drops["device_silent"] >= 2, "two silences")
        peer.tell("resume")
        collector.wait_for(5)
    assert any("no gaze for 0.5 s (Pupil Capture" in event for event in collector.events)


def test_a_remote_that_answers_no_more_stops_no_gaze_and_is_asked_again(
    start: Callable[..., Peer],
) -> None:
    peer = start()
    with Collector(peer.link()) as collector:
        collector.first(5)
        drops = collector.device.drops
        peer.tell("deaf")
        until(lambda: drops["clock_not_answered"] >= 2, "two requests in vain")
        collector.wait_for(5)
        report = until(collector.device.clock_report, "a report")
        peer.tell("hear")
        until(lambda: collector.device.clock_report().pair_count > report.pair_count, "an answer")  # type: ignore[union-attr]
        assert max(abs(stamp_error_ns(sample)) for sample in collector.samples) < CLOCK_LIMIT_NS
    assert set(drops) == {"clock_not_answered"}


def test_a_remote_that_answers_nothing_from_the_start_is_told_of(
    start: Callable[..., Peer],
) -> None:
    peer = start()
    peer.tell("deaf")
    with Collector(peer.link()) as collector:
        until(lambda: collector.device.drops["device_connection_failed"], "the time-out")
    assert "does not answer within 0.3 s" in collector.events[0]


def test_nobody_there_ends_after_as_many_failures_as_allowed() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    link = PupilCoreLink(PupilCoreConfig(port=port, answer_s=0.1))
    config = DeviceConfig(pause_s=0.01, longest_pause_s=0.01, max_failures=2)
    with Collector(link, config) as collector:
        error = until(lambda: collector.error, "the end")
    assert "failed 2 times in a row" in str(error)
    assert f"tcp://127.0.0.1:{port}" in str(error)


def test_another_program_on_the_port_is_recognised() -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            other.recv()
            other.send(b"\xffHello")

        thread = threading.Thread(target=answer)
        thread.start()
        link = PupilCoreLink(PupilCoreConfig(port=port, answer_s=1.0))
        with Collector(link, QUICK) as collector:
            until(lambda: collector.device.state.startswith("failed"), "the failure")
            thread.join()
            assert "is this another program?" in collector.events[0]


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="port is 70000"):
        PupilCoreConfig(port=70_000)
