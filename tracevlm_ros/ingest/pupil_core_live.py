"""Pupil Core live: Pupil Capture's network API (Pupil Remote and the IPC back end, ZMQ).

Pupil Remote answers requests on a fixed port: ``SUB_PORT`` names the port where all data are
published, ``t`` gives Pupil time in seconds. Gaze is published as two frames, a topic that begins
with ``gaze.`` and a msgpack map: ``norm_pos`` is 0..1 of the world image with the origin at its
bottom left, ``timestamp`` is Pupil time, ``confidence`` 0..1.
https://docs.pupil-labs.com/core/developer/network-api/
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgpack
import zmq

from tracevlm_ros.core.clock import ClockMapper
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.live_clock import Clock
from tracevlm_ros.ingest.live_device import (
    BadMessage,
    Inbox,
    Message,
    place_of,
    seconds_as_ns,
)

_MAX_MESSAGE_BYTES = 1 << 20
_EXCHANGE_NS = 250_000_000
_FIRST_EXCHANGES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PupilCoreConfig:
    """``port`` is Pupil Remote's; ``topic`` the prefix of the gaze to take (``gaze.3d.01.`` is
    binocular gaze alone); ``answer_s`` bounds the wait for an answer while connecting."""

    host: str = "127.0.0.1"
    port: int = 50020
    topic: str = "gaze."
    answer_s: float = 2.0

    def __post_init__(self) -> None:
        require_range("port", self.port, 1, 65535)
        require_range("answer_s", self.answer_s, 0.05, 60.0)


class PupilCoreLink:
    """See ``live_device.Link``. The clock is measured by Pupil Remote's ``t``, four times a second
    without ever waiting for the answer."""

    silence_hint = " (Pupil Capture publishes gaze only once it is calibrated)"

    def __init__(self, config: PupilCoreConfig | None = None) -> None:
        self.config = config or PupilCoreConfig()
        host = self.config.host
        self._host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self.name = f"Pupil Core at tcp://{self._host}:{self.config.port}"
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._asked_ns: int | None = None
        self._next_ns = 0

    def open(self, clock: ClockMapper, now: Clock) -> None:
        self._clock, self._now = clock, now
        try:
            self._context = zmq.Context()
            self._remote = self._connected(zmq.REQ, self.config.port)
            port = _port_of(self._ask(b"SUB_PORT"))
            self._data = self._connected(zmq.SUB, port)
            self._data.setsockopt(zmq.SUBSCRIBE, self.config.topic.encode())
            for _ in range(_FIRST_EXCHANGES):
                asked_ns = now()
                clock.add_exchange(asked_ns, _pupil_time(self._ask(b"t")), now())
        except zmq.ZMQError as error:
            raise OSError(f"{self.name}: {error}") from error
        self._asked_ns, self._next_ns = None, now() + _EXCHANGE_NS
        self._poller = zmq.Poller()
        self._poller.register(self._remote, zmq.POLLIN)
        self._poller.register(self._data, zmq.POLLIN)

    def receive(self, inbox: Inbox, wait_s: float) -> None:
        try:
            ready = dict(self._poller.poll(round(wait_s * 1000)))
            if self._remote in ready:
                self._hear_time()
            self._ask_time(inbox)
            if self._data in ready:
                self._drain(inbox)
        except zmq.ZMQError as error:
            raise OSError(f"{self.name}: {error}") from error

    def decode(self, message: Message) -> GazeSample:
        try:
            datum: Any = msgpack.unpackb(message.payload, raw=False, strict_map_key=False)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            raise BadMessage("gaze_malformed") from error
        if not isinstance(datum, dict):
            raise BadMessage("gaze_malformed")
        if not {"norm_pos", "timestamp"} <= datum.keys():
            raise BadMessage("gaze_key_missing")
        stamp_ns = seconds_as_ns(datum["timestamp"])
        x, y = place_of(datum["norm_pos"])
        return GazeSample(stamp_ns, x, 1.0 - y, _confidence(datum.get("confidence", 1.0)))

    def close(self) -> None:
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    def _ask(self, request: bytes) -> bytes:
        """One request and its answer; OSError when none comes in time."""
        self._remote.send(request)
        if not self._remote.poll(round(self.config.answer_s * 1000)):
            raise TimeoutError(
                f"Pupil Remote does not answer within {self.config.answer_s:g} s; start Pupil "
                "Capture and see its Network API menu for the address"
            )
        return self._remote.recv()

    def _connected(self, kind: int, port: int) -> "zmq.Socket[bytes]":
        assert self._context is not None
        connected = self._context.socket(kind)
        connected.setsockopt(zmq.IPV6, 1)
        connected.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        connected.connect(f"tcp://{self._host}:{port}")
        return connected

    def _ask_time(self, inbox: Inbox) -> None:
        """Ask when it is time to. A socket that waits for an answer can ask nothing else, so one
        that has waited for ``answer_s`` is given up for a new one."""
        now_ns = self._now()
        if self._asked_ns is not None:
            if now_ns - self._asked_ns < self.config.answer_s * 1e9:
                return
            inbox.miss("clock_not_answered")
            self._poller.unregister(self._remote)
            self._remote.close(linger=0)
            self._remote = self._connected(zmq.REQ, self.config.port)
            self._poller.register(self._remote, zmq.POLLIN)
            self._asked_ns = None
        if now_ns >= self._next_ns:
            self._remote.send(b"t", zmq.NOBLOCK)
            self._asked_ns, self._next_ns = now_ns, now_ns + _EXCHANGE_NS

    def _hear_time(self) -> None:
        answer, heard_ns = self._remote.recv(zmq.NOBLOCK), self._now()
        if self._asked_ns is not None:
            self._clock.add_exchange(self._asked_ns, _pupil_time(answer), heard_ns)
            self._asked_ns = None

    def _drain(self, inbox: Inbox) -> None:
        arrival_ns = self._now()
        while True:
            try:
                frames = self._data.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            payload = frames[1] if len(frames) > 1 else b""
            if not inbox.put(Message(payload, arrival_ns)):
                return


def _port_of(answer: bytes) -> int:
    text = answer[:80].decode("ascii", "replace")
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise InputError(
            f"Pupil Remote answered SUB_PORT with {text!r}, which is no port; is this another "
            "program? check the port in Pupil Capture's Network API menu"
        )
    return int(text)


def _pupil_time(answer: bytes) -> int:
    try:
        return seconds_as_ns(float(answer[:80]))
    except (ValueError, BadMessage) as error:
        raise InputError(
            f"Pupil Remote answered t with {answer[:80]!r}, which is no time in seconds; "
            "is this another program?"
        ) from error


def _confidence(value: object) -> float:
    """0..1; what is no number counts as no confidence."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return min(max(float(value), 0.0), 1.0) if isfinite(value) else 0.0
