"""Tobii Pro Glasses 2 and 3 live.

Glasses 2 send their live data (the JSON lines of ``tobii``) as UDP datagrams to whoever sends them
a keep-alive message to port 49152 at least every few seconds. Glasses 3 offer RTSP on port 8554;
the stream ``/live/all`` holds media of type application, each packet of which is a JSON object:
that of gaze has ``gaze2d`` in 0..1 of the scene video, or is empty where no eye was seen.
Neither answers requests for the time: offset and drift come from the arrival of the readings.
"""

import contextlib
import json
import select
import socket
import uuid
from dataclasses import dataclass
from math import nan
from typing import Any

import av

from tracevlm_ros.core.clock import ClockMapper
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.json_text import json_object
from tracevlm_ros.ingest.live_clock import Clock
from tracevlm_ros.ingest.live_device import BadMessage, Inbox, Message, place_of

_NS = 1_000_000_000
_DATAGRAM_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class TobiiConfig:
    """``port`` 0 takes the device's own: 49152 of Glasses 2, 8554 of Glasses 3. ``keep_alive_s``
    is the time between two keep-alive messages, ``answer_s`` the longest wait of a connection."""

    host: str = "192.168.71.50"
    port: int = 0
    keep_alive_s: float = 1.0
    answer_s: float = 5.0

    def __post_init__(self) -> None:
        require_range("port", self.port, 0, 65535)
        require_range("keep_alive_s", self.keep_alive_s, 0.05, 4.0)
        require_range("answer_s", self.answer_s, 0.1, 60.0)


class TobiiGlasses2Link:
    """See ``live_device.Link``. Only datagrams of the glasses' own address and port are taken."""

    silence_hint = " (are the glasses on this network, is a person calibrated?)"

    def __init__(self, config: TobiiConfig | None = None) -> None:
        self.config = config or TobiiConfig()
        self._port = self.config.port or 49152
        self.name = f"Tobii Pro Glasses 2 at udp://{self.config.host}:{self._port}"
        self._socket: socket.socket | None = None
        self._key = str(uuid.uuid4())

    def open(self, clock: ClockMapper, now: Clock) -> None:
        self._clock, self._now = clock, now
        family, kind, protocol, _, address = socket.getaddrinfo(
            self.config.host, self._port, type=socket.SOCK_DGRAM
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)
        self._next_ns = now()

    def receive(self, inbox: Inbox, wait_s: float) -> None:
        assert self._socket is not None
        now_ns = self._now()
        if now_ns >= self._next_ns:
            self._socket.send(self._message("start"))
            self._next_ns = now_ns + round(self.config.keep_alive_s * _NS)
        wait_s = min(wait_s, (self._next_ns - now_ns) / _NS)
        if not select.select([self._socket], [], [], wait_s)[0]:
            return
        arrival_ns = self._now()
        while True:
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            for line in datagram.splitlines():
                if line.strip() and not inbox.put(Message(line, arrival_ns)):
                    return

    def decode(self, message: Message) -> GazeSample | None:
        record = json_object(message.payload)
        if record is None:
            raise BadMessage("gaze_malformed")
        if "gp" not in record:
            return None
        if not {"ts", "s"} <= record.keys():
            raise BadMessage("gaze_key_missing")
        stamp_ns = _microseconds(record["ts"])
        x, y = place_of(record["gp"])
        self._clock.add_pair(stamp_ns, message.arrival_ns)
        if record["s"] != 0:
            return GazeSample(stamp_ns, nan, nan, 0.0)
        return GazeSample(stamp_ns, x, y)

    def close(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # glasses that are gone need not be told
            self._socket.send(self._message("stop"))
        self._socket.close()
        self._socket = None

    def _message(self, operation: str) -> bytes:
        message = {"type": "live.data.unicast", "key": self._key, "op": operation}
        return json.dumps(message).encode()


class TobiiGlasses3Link:
    """See ``live_device.Link``. Gaze is stamped by its packets' RTP time."""

    silence_hint = " (is the head unit on, is a person calibrated?)"

    def __init__(self, config: TobiiConfig | None = None) -> None:
        self.config = config or TobiiConfig()
        port = self.config.port or 8554
        self.url = f"rtsp://{self.config.host}:{port}/live/all"
        self.name = f"Tobii Pro Glasses 3 at {self.url}"
        self._container: Any = None

    def open(self, clock: ClockMapper, now: Clock) -> None:
        self._clock, self._now = clock, now
        self._gaze_channel: int | None = None
        wait_s = self.config.answer_s
        options = {"rtsp_transport": "tcp", "allowed_media_types": "data"}
        try:
            self._container = av.open(self.url, options=options, timeout=(wait_s, wait_s))
        except av.error.FFmpegError as error:
            raise OSError(str(error)) from error
        streams = self._container.streams.data
        if not streams:
            raise InputError(f"{self.url} offers no stream of data; is this a Glasses 3 head unit?")
        self._packets = self._container.demux(*streams)

    def receive(self, inbox: Inbox, wait_s: float) -> None:  # noqa: ARG002
        """Blocks until one packet comes or ``answer_s`` passed: FFmpeg cannot be asked to wait
        less. There is one packet a call; what waits is FFmpeg's, bounded by the TCP window."""
        try:
            packet = next(self._packets)
        except StopIteration:
            raise OSError("the stream ended") from None
        except av.error.FFmpegError as error:
            raise OSError(str(error)) from error
        if packet.pts is not None:
            base = packet.time_base
            device_ns = int(packet.pts) * int(base.numerator) * _NS // int(base.denominator)
            inbox.put(Message(bytes(packet), self._now(), device_ns, packet.stream_index))

    def decode(self, message: Message) -> GazeSample | None:
        record = json_object(message.payload)
        if record is None:
            raise BadMessage("gaze_malformed")
        if "gaze2d" in record:
            self._gaze_channel = message.channel
        is_lost = not record and message.channel == self._gaze_channel
        if not is_lost and "gaze2d" not in record:
            return None
        assert message.device_ns is not None
        x, y = (nan, nan) if is_lost else place_of(record["gaze2d"])
        self._clock.add_pair(message.device_ns, message.arrival_ns)
        return GazeSample(message.device_ns, x, y, 0.0 if is_lost else 1.0)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None


def _microseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise BadMessage("gaze_stamp_invalid")
    return value * 1000
