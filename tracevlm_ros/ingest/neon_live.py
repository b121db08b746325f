"""Pupil Labs Neon live, through the vendor's package ``pupil-labs-realtime-api`` (extra ``neon``).

The Companion app answers HTTP on port 8080; its status names the RTSP address of the gaze stream
and the port of the Time Echo. A gaze packet begins with x and y in pixels of the scene camera
(float32, big-endian, from the top-left corner) and a byte that is 255 while the glasses are worn.
Its stamp is Unix time of the phone. Time Echo: we send 8 bytes, they come back with the phone's
time in whole milliseconds. https://pupil-labs.github.io/pl-realtime-api
"""

import asyncio
import contextlib
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

from tracevlm_ros.core.clock import ClockMapper
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.live_clock import Clock
from tracevlm_ros.ingest.live_device import BadMessage, Inbox, Message

SCENE_HW = (1200, 1600)
_NS_PER_MS = 1_000_000
_HALF_MS = 500_000
_ECHO_S = 0.25
_FIRST_ECHOES = 10
_FAREWELL_S = 0.3
_FAREWELLS = 4
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class NeonConfig:
    """``port`` is the Companion app's; ``transport`` udp, or tcp where a firewall is in between;
    ``answer_s`` bounds every wait while connecting."""

    host: str = "neon.local"
    port: int = 8080
    transport: str = "udp"
    answer_s: float = 5.0

    def __post_init__(self) -> None:
        require_range("port", self.port, 1, 65535)
        require_choice("transport", self.transport, ("udp", "tcp"))
        require_range("answer_s", self.answer_s, 0.1, 60.0)


class NeonLink:
    """See ``live_device.Link``. Its event loop runs inside ``open``, ``receive`` and ``close``."""

    silence_hint = " (are the glasses plugged into the phone?)"

    def __init__(self, config: NeonConfig | None = None) -> None:
        self.config = config or NeonConfig()
        self.name = f"Neon at http://{self.config.host}:{self.config.port}"
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            import pupil_labs.realtime_api as api
        except ImportError as error:
            raise InputError(
                f"Neon needs the package pupil-labs-realtime-api ({error}); install it with: "
                "pip install 'tracevlm_ros[neon]'"
            ) from error
        self._api: Any = api

    def open(self, clock: ClockMapper, now: Clock) -> None:
        self._clock, self._now = clock, now
        self._stop_stream: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._run(self._connect())

    def receive(self, inbox: Inbox, wait_s: float) -> None:
        self._run(self._collect(inbox, wait_s))

    def decode(self, message: Message) -> GazeSample:
        if len(message.payload) < 9:
            raise BadMessage("gaze_malformed")
        x, y, worn = struct.unpack_from("!ffB", message.payload)
        assert message.device_ns is not None
        self._clock.add_pair(message.device_ns, message.arrival_ns)
        if worn != 255:
            return GazeSample(message.device_ns, nan, nan, 0.0)
        return GazeSample(message.device_ns, x / SCENE_HW[1], y / SCENE_HW[0])

    def close(self) -> None:
        if self._loop is None:
            return
        with contextlib.suppress(OSError, InputError):
            self._run(self._disconnect())
        self._loop.close()
        self._loop = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Everything that the vendor's package and asyncio raise is a failure of the connection."""
        assert self._loop is not None
        try:
            return self._loop.run_until_complete(work)
        except (OSError, InputError):
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    async def _connect(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        async with self._api.Device(self.config.host, self.config.port) as device:
            status = await asyncio.wait_for(device.get_status(), self.config.answer_s)
        url = status.direct_gaze_sensor().url
        if url is None:
            raise InputError(f"{self.name} has no gaze sensor connected; plug in the glasses")
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        port = status.phone.time_echo_port
        if port:
            await self._start_echo(port)
        self._tasks.append(asyncio.ensure_future(self._stream(url)))

    async def _disconnect(self) -> None:
        """Tasks of the vendor's package included. Cancelled once, it says goodbye to the peer;
        cancelled again, it stops waiting for the answer of one that is gone."""
        for _ in range(_FAREWELLS):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_FAREWELL_S)

    async def _stream(self, url: str) -> None:
        if self.config.transport == "tcp":
            url = url.replace("rtsp://", "rtspt://", 1)
        timeout_s = self.config.answer_s
        async with self._api.RTSPRawStreamer(url, timeout=timeout_s, log_level=50) as streamer:
            async for datum in streamer.receive():
                message = Message(bytes(datum.raw), self._now(), datum.timestamp_unix_ns)
                self._arrived.put_nowait(message)
        raise ConnectionError("the gaze stream ended")

    async def _collect(self, inbox: Inbox, wait_s: float) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        with contextlib.suppress(asyncio.TimeoutError):
            inbox.put(await asyncio.wait_for(self._arrived.get(), wait_s))
        while not self._arrived.empty():
            inbox.put(self._arrived.get_nowait())

    async def _start_echo(self, port: int) -> None:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(self.config.host, port), self.config.answer_s
        )
        for _ in range(_FIRST_ECHOES):
            await asyncio.wait_for(self._echo(reader, writer), self.config.answer_s)
        self._tasks.append(asyncio.ensure_future(self._keep_time(reader, writer)))

    async def _keep_time(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await asyncio.sleep(_ECHO_S)
                await self._echo(reader, writer)
        finally:
            writer.close()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One exchange. The phone's milliseconds are rounded down: half of one is added."""
        asked_ns = self._now()
        request = struct.pack("!Q", asked_ns)
        writer.write(request)
        await writer.drain()
        answer = await reader.readexactly(16)
        heard_ns = self._now()
        if answer[:8] != request:
            raise ConnectionError("the Time Echo answered another request")
        phone_ns = struct.unpack("!Q", answer[8:])[0] * _NS_PER_MS + _HALF_MS
        self._clock.add_exchange(asked_ns, phone_ns, heard_ns)
