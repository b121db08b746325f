"""Neon live: a peer that speaks HTTP status, Time Echo and RTSP as the Companion app does."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isnan
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

pytest.importorskip("pupil_labs.realtime_api", reason="the extra 'neon' is not installed")

from tests.ingest.live_rig import QUICK, Collector, until
from tests.ingest.rtsp_data_server import Packet, RtspDataServer
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.live_device import BadMessage, DeviceConfig, Message
from tracevlm_ros.ingest.neon_live import NeonConfig, NeonLink

PHONE_AHEAD_NS = 2_500_000_000
PATIENT = DeviceConfig(silence_s=5.0, pause_s=0.05, longest_pause_s=0.1)


def packet_of(index: int) -> bytes:
    """Every tenth is not worn, every twentieth cut off; one kind carries eye state as well."""
    if index % 20 == 15:
        return b"\x00\x01"
    worn = 0 if index % 10 == 9 else 255
    return struct.pack("!ffB", 400.0, 900.0, worn) + (b"\x00" * 56 if index % 2 else b"")


class Phone:
    """The Companion app with its three servers on free ports of the loopback."""

    def __init__(self, *, has_echo: bool = True, has_glasses: bool = True) -> None:
        self.is_ending = threading.Event()
        self.rtsp = RtspDataServer("video", "com.pupillabs.gaze1", self._packets())
        self.echo = ThreadingTCPServer(("127.0.0.1", 0), _Echo)
        status = self._status(has_echo, has_glasses)

        class Api(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"message": "Success", "result": status}).encode()
                self.send_response(200 if self.path == "/api/status" else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: Any) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        for server in (self.echo, self.http):
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def _status(self, has_echo: bool, has_glasses: bool) -> list[dict[str, Any]]:
        phone = {
            "battery_level": 80,
            "battery_state": "OK",
            "device_id": "1",
            "device_name": "test",
            "ip": "127.0.0.1",
            "memory": 1,
            "memory_state": "OK",
            "time_echo_port": self.echo.server_address[1] if has_echo else None,
        }
        sensor = {
            "sensor": "gaze",
            "conn_type": "DIRECT",
            "connected": has_glasses,
            "ip": "127.0.0.1",
            "params": "camera=gaze",
            "port": self.rtsp.port,
            "protocol": "rtsp",
            "stream_error": False,
        }
        return [{"model": "Phone", "data": phone}, {"model": "Sensor", "data": sensor}]

    def _packets(self) -> Iterator[Packet]:
        index = 0
        while not self.is_ending.wait(0.005):
            yield Packet(time.time_ns() + PHONE_AHEAD_NS, packet_of(index))
            index += 1

    def link(self, transport: str = "udp") -> NeonLink:
        port = int(self.http.server_address[1])
        return NeonLink(NeonConfig(host="127.0.0.1", port=port, transport=transport))

    def close(self) -> None:
        self.is_ending.set()
        self.rtsp.close()
        for server in (self.echo, self.http):
            server.shutdown()
            server.server_close()


class _Echo(StreamRequestHandler):
    def handle(self) -> None:
        while request := self.rfile.read(8):
            phone_ms = (time.time_ns() + PHONE_AHEAD_NS) // 1_000_000
            self.wfile.write(request + struct.pack("!Q", phone_ms))


@pytest.fixture
def phones() -> Iterator[list[Phone]]:
    started: list[Phone] = []
    yield started
    for phone in started:
        phone.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_gaze_has_local_stamps_by_the_time_echo(phones: list[Phone], transport: str) -> None:
    phones.append(Phone())
    start_ns = time.time_ns()
    with Collector(phones[0].link(transport), PATIENT) as collector:
        samples = collector.first(60)
        report = until(collector.device.clock_report, "a report")
    end_ns = time.time_ns()
    assert report.is_exchange
    assert abs(report.offset_ns + PHONE_AHEAD_NS) < 20_000_000
    worn = [sample for sample in samples if sample.confidence]
    assert {(sample.x_px, sample.y_px) for sample in worn} == {(0.25, 0.75)}
    assert all(isnan(sample.x_px) for sample in samples if not sample.confidence)
    assert 3 <= len(samples) - len(worn) <= 12
    assert all(start_ns - 10**9 < sample.stamp_ns < end_ns + 10**8 for sample in samples)
    assert set(collector.device.drops) == {"gaze_malformed"}
    assert phones[0].rtsp.transports == [transport]


def test_without_a_time_echo_the_clock_comes_from_arrivals(phones: list[Phone]) -> None:
    phones.append(Phone(has_echo=False))
    with Collector(phones[0].link("tcp"), PATIENT) as collector:
        collector.first(5)
        report = until(collector.device.clock_report, "a report")
    assert not report.is_exchange
    assert abs(report.offset_ns + PHONE_AHEAD_NS) < 200_000_000


def test_a_phone_without_glasses_is_told_of(phones: list[Phone]) -> None:
    phones.append(Phone(has_glasses=False))
    with Collector(phones[0].link(), QUICK) as collector:
        until(lambda: collector.device.drops["device_connection_failed"] >= 2, "two failures")
    assert "plug in the glasses" in collector.events[0]


def test_a_stream_that_ends_is_taken_up_again(phones: list[Phone]) -> None:
    phones.append(Phone())
    with Collector(phones[0].link("tcp"), PATIENT) as collector:
        collector.first(5)
        phones[0].is_ending.set()
        until(lambda: collector.device.state.startswith("failed"), "the failure")
        phones[0].is_ending.clear()
        phones[0].rtsp._packets = phones[0]._packets()
        collector.wait_for(5)
    assert collector.events[-1].endswith("receiving gaze")


def test_a_packet_that_is_too_short_is_no_reading() -> None:
    with pytest.raises(BadMessage):
        NeonLink().decode(Message(b"12345678", 0, 0))


def test_an_unknown_transport_is_refused() -> None:
    with pytest.raises(ConfigError, match="transport"):
        NeonConfig(transport="pigeon")
