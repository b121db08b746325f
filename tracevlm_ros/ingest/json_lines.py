"""JSON objects, one a line, from standard input or from programs that connect to a TCP port.

For programs that speak no ROS: a speech recogniser, a game engine, ``nc``. A line that is no object
or longer than 64 KiB is dropped and counted; a sender that is too fast is slowed down by its pipe
or TCP connection, so nothing else is lost.
"""

import contextlib
import os
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.json_text import MAX_BYTES, json_object
from tracevlm_ros.ingest.live_clock import Clock, wall_clock

_TURN_S = 0.1
_CLIENTS = 8


class Record(NamedTuple):
    """One object and when it arrived by the local clock."""

    values: dict[str, Any]
    arrival_ns: int


class _Assembler:
    """Bytes -> whole lines; of a line that never ends no more than ``MAX_BYTES`` are kept."""

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._rest = b""
        self._is_skipping = False

    def lines(self, data: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and self._is_skipping:
            whole, self._is_skipping = whole[1:], False
        if len(self._rest) > MAX_BYTES:
            if not self._is_skipping:
                self._drops["line_too_long"] += 1
            self._rest, self._is_skipping = b"", True
        return whole


class JsonLines:
    """``port`` None reads standard input, 0 listens on a free port (see ``port``), else on that.

    ``host`` is the address to listen on; 127.0.0.1 serves this computer alone. Raises InputError
    when the port cannot be had. ``stop`` may be called from any thread.
    """

    def __init__(
        self,
        port: int | None = None,
        host: str = "127.0.0.1",
        now: Clock | None = None,
        on_event: Callable[[str], object] | None = None,
    ) -> None:
        self.drops = Drops()
        self._now = now or wall_clock()
        self._say = on_event or (lambda _text: None)
        self._stopped = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self.port = port
        if port is not None:
            self._listen(host, port)

    def _listen(self, host: str, port: int) -> None:
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port}: {error}; choose another port or address"
            ) from error
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector.register(self._listener, selectors.EVENT_READ)

    def stop(self) -> None:
        self._stopped.set()

    def records(self) -> Iterator[Record]:
        """Objects until ``stop``, or the end of standard input. To be called once."""
        try:
            yield from self._read_input() if self._listener is None else self._serve()
        finally:
            for key in list(self._selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
            self._selector.close()

    def _read_input(self) -> Iterator[Record]:
        descriptor, lines = sys.stdin.fileno(), _Assembler(self.drops)
        with contextlib.suppress(PermissionError):  # of a file: always ready, no need to wait
            self._selector.register(descriptor, selectors.EVENT_READ)
        while not self._stopped.is_set():
            if self._selector.get_map() and not self._selector.select(_TURN_S):
                continue
            data = os.read(descriptor, MAX_BYTES)
            yield from self._records_of(lines.lines(data or b"\n"))
            if not data:
                return

    def _serve(self) -> Iterator[Record]:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(_TURN_S):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    yield from self._hear(key)

    def _accept(self) -> None:
        assert self._listener is not None
        connection, address = self._listener.accept()
        if len(self._selector.get_map()) > _CLIENTS:
            connection.close()
            self.drops["connection_refused"] += 1
            self._say(f"refused {address[0]}: {_CLIENTS} programs are connected already")
            return
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, _Assembler(self.drops))
        self._say(f"{address[0]} connected")

    def _hear(self, key: selectors.SelectorKey) -> Iterator[Record]:
        connection, lines = key.fileobj, key.data
        assert isinstance(connection, socket.socket)
        try:
            data = connection.recv(MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        yield from self._records_of(lines.lines(data or b"\n"))
        if not data:
            self._selector.unregister(connection)
            connection.close()
            self._say("a program disconnected")

    def _records_of(self, lines: list[bytes]) -> Iterator[Record]:
        arrival_ns = self._now()
        for line in lines:
            if not line.strip():
                continue
            values = json_object(line)
            if values is None:
                self.drops["line_malformed"] += 1
            else:
                yield Record(values, arrival_ns)
