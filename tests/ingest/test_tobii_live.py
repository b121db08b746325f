"""Tobii Pro Glasses live: a UDP peer that replays a recording, and an RTSP peer."""

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from math import isnan
from pathlib import Path

import pytest

from tests.ingest.live_rig import QUICK, Collector, until
from tests.ingest.rtsp_data_server import Packet, RtspDataServer
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest import tobii
from tracevlm_ros.ingest.live_device import BadMessage, DeviceConfig, Message
from tracevlm_ros.ingest.scene_pixels import from_normalised
from tracevlm_ros.ingest.tobii_live import TobiiConfig, TobiiGlasses2Link, TobiiGlasses3Link

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
SIZE_HW = (1080, 1920)
PLAYED_US = 1_000_000


class Glasses2:
    """Sends ``records`` in their time to whoever sends a keep-alive, once for each ``start``."""

    def __init__(self, records: list[dict[str, object]]) -> None:
        self._records = records
        self.heard: list[dict[str, object]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = int(self._socket.getsockname()[1])
        self.extra: list[bytes] = []
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._is_ending.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._is_ending.is_set():
            client = self._hear()
            if client is not None and self.heard[-1]["op"] == "start":
                self._play(client)

    def _hear(self) -> tuple[str, int] | None:
        try:
            data, client = self._socket.recvfrom(4096)
        except TimeoutError:
            return None
        self.heard.append(json.loads(data))
        return str(client[0]), int(client[1])

    def _play(self, client: tuple[str, int]) -> None:
        start_s, first_us = time.monotonic(), int(str(self._records[0]["ts"]))
        for datagram in self.extra:
            self._socket.sendto(datagram, client)
        for record in self._records:
            due_s = start_s + (int(str(record["ts"])) - first_us) / 1e6
            if self._is_ending.wait(max(0.0, due_s - time.monotonic())):
                return
            self._socket.sendto(json.dumps(record).encode() + b"\r\n", client)


def link_to(glasses: Glasses2) -> TobiiGlasses2Link:
    return TobiiGlasses2Link(TobiiConfig(host="127.0.0.1", port=glasses.port, keep_alive_s=0.1))


@pytest.fixture
def recording() -> Path:
    path = DATA / "gaze" / "tobii_g2_livedata"
    if not path.is_dir():
        pytest.skip(f"no recording of Tobii Pro Glasses 2 in {path}")
    return path


def first_records(path: Path) -> list[dict[str, object]]:
    """The first second of gaze, with what else the glasses told in it, in the order of time."""
    with gzip.open(path / "livedata.json.gz", "rt") as lines:
        records = [json.loads(line) for line in lines]
    first_us = min(record["ts"] for record in records if "gp" in record)
    near = [record for record in records if 0 <= record["ts"] - first_us < PLAYED_US]
    return sorted(near, key=lambda record: int(record["ts"]))


def test_a_recording_sent_live_gives_the_samples_that_reading_it_gives(recording: Path) -> None:
    records = first_records(recording)
    count = sum("gp" in record for record in records)
    wanted = sorted(tobii.read_gaze(recording, SIZE_HW))[:count]
    assert any(isnan(sample.x_px) for sample in wanted)
    glasses = Glasses2(records)
    try:
        with Collector(link_to(glasses), DeviceConfig(silence_s=5.0)) as collector:
            got = collector.first(count)
            report = until(collector.device.clock_report, "a report")
    finally:
        glasses.close()
    offset_ns = got[0].stamp_ns - wanted[0].stamp_ns
    assert abs(report.offset_ns - offset_ns) < 200_000_000
    assert not report.is_exchange
    for live, read in zip(got, wanted, strict=True):
        assert abs(live.stamp_ns - read.stamp_ns - offset_ns) < 200_000_000
        if isnan(read.x_px):
            assert isnan(live.x_px) and live.confidence == 0.0
        else:
            assert from_normalised(live.x_px, live.y_px, SIZE_HW) == (read.x_px, read.y_px)
            assert live.confidence == 1.0
    assert not collector.device.drops


def gaze(ts: int, x: float = 0.5) -> dict[str, object]:
    return {"ts": ts, "s": 0, "gidx": 1, "l": 1, "gp": [x, 0.4]}


def test_the_glasses_are_kept_awake_and_told_at_the_end() -> None:
    glasses = Glasses2([gaze(1_000_000 + 10_000 * index) for index in range(10)])
    try:
        with Collector(link_to(glasses), DeviceConfig(silence_s=5.0)) as collector:
            until(lambda: len(glasses.heard) >= 3, "three keep-alives")
            collector.first(10)
        until(lambda: glasses.heard[-1]["op"] == "stop", "the farewell")
    finally:
        glasses.close()
    assert {message["type"] for message in glasses.heard} == {"live.data.unicast"}
    assert len({message["key"] for message in glasses.heard}) == 1


def test_datagrams_that_are_no_readings_are_counted_and_survived() -> None:
    glasses = Glasses2([gaze(1_000_000 + 10_000 * index) for index in range(5)])
    glasses.extra = [
        b"\xff\xfe",
        b'{"ts": 1, "s": 0, "gp": [0.',
        b"[" * 5000,
        b'{"s": 0, "gp": [0.1, 0.2]}',
        b'{"ts": "now", "s": 0, "gp": [0.1, 0.2]}',
        b'{"ts": 1, "s": 0, "gp": [0.1]}',
        b'{"ts": 1, "s": 0, "gp": [1e999, "a"]}',
        b"",
    ]
    try:
        with Collector(link_to(glasses), DeviceConfig(silence_s=5.0)) as collector:
            collector.first(5)
    finally:
        glasses.close()
    drops = collector.device.drops
    assert drops["gaze_malformed"] % 5 == 0 and drops["gaze_malformed"] > 0
    assert drops["gaze_key_missing"] > 0
    assert drops["gaze_stamp_invalid"] > 0
    assert set(drops) == {"gaze_malformed", "gaze_key_missing", "gaze_stamp_invalid"}


def test_datagrams_of_strangers_are_not_read() -> None:
    glasses = Glasses2([gaze(1_000_000 + 5_000 * index) for index in range(100)])
    try:
        with Collector(link_to(glasses), DeviceConfig(silence_s=5.0)) as collector:
            collector.first(1)
            mine = collector.device.link
            assert isinstance(mine, TobiiGlasses2Link) and mine._socket is not None
            address = mine._socket.getsockname()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for _ in range(10):
                    stranger.sendto(json.dumps(gaze(1_500_000, 0.9)).encode(), address)
            samples = collector.first(100)
    finally:
        glasses.close()
    assert {sample.x_px for sample in samples} == {0.5}


def test_glasses_that_vanish_and_return_are_found_again() -> None:
    glasses = Glasses2([gaze(1_000_000 + 10_000 * index) for index in range(20)])
    port = glasses.port
    with Collector(link_to(glasses), QUICK) as collector:
        collector.first(5)
        glasses.close()
        until(lambda: collector.device.state.startswith("failed"), "the failure")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
            again.settimeout(10.0)
            data, client = again.recvfrom(4096)
            assert json.loads(data)["op"] == "start"
            have = len(collector.samples)
            for index in range(5):
                again.sendto(json.dumps(gaze(9_000_000_000 + index * 1000)).encode(), client)
            until(lambda: len(collector.samples) >= have + 5, "gaze after the return")
    assert collector.events[-1].endswith("receiving gaze")


# --- Glasses 3 -----------------------------------------------------------------------------------


def ticking(payloads: list[bytes], clock_offset_ns: int) -> Iterator[Packet]:
    """The payloads at 100 Hz, then silence for a while."""
    wait = threading.Event()
    for payload in payloads:
        yield Packet(time.time_ns() + clock_offset_ns, payload)
        wait.wait(0.01)


def test_glasses_3_gaze_comes_over_rtsp_with_local_stamps() -> None:
    payloads = [json.dumps({"gaze2d": [0.25, 0.75], "gaze3d": [1, 2, 3]}).encode()] * 40
    payloads[20] = b"{}"
    payloads[30] = b"{oops"
    server = RtspDataServer("application", "TOBII-GAZE", ticking(payloads, -7_000_000_000))
    link = TobiiGlasses3Link(TobiiConfig(host="127.0.0.1", port=server.port, answer_s=5.0))
    try:
        start_ns = time.time_ns()
        with Collector(link, QUICK) as collector:
            samples: list[GazeSample] = collector.first(35)
        end_ns = time.time_ns()
    finally:
        server.close()
    assert server.transports[0] == "tcp"
    seen = [sample for sample in samples if sample.confidence]
    assert {(sample.x_px, sample.y_px) for sample in seen} == {(0.25, 0.75)}
    assert len(samples) - len(seen) == 1
    assert all(start_ns - 10**9 < sample.stamp_ns < end_ns + 10**9 for sample in samples)
    assert collector.device.drops["gaze_malformed"] == 1


def test_other_data_of_glasses_3_are_no_gaze() -> None:
    link = TobiiGlasses3Link()
    link._gaze_channel = 1
    assert link.decode(Message(b'{"accelerometer": [1, 2, 3]}', 0, 0, 2)) is None
    assert link.decode(Message(b"{}", 0, 0, 2)) is None
    with pytest.raises(BadMessage):
        link.decode(Message(b"[1]", 0, 0, 1))
