"""JSON lines over real pipes and TCP connections."""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ingest.live_rig import until
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.json_lines import JsonLines, Record
from tracevlm_ros.ingest.json_text import MAX_BYTES, json_object


class Server:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.records: list[Record] = []
        self.lines = JsonLines(0, on_event=self.events.append)
        self._thread = threading.Thread(target=lambda: self.records.extend(self._each()))
        self._thread.start()

    def _each(self) -> Iterator[Record]:
        for record in self.lines.records():
            self.records.append(record)
        return iter(())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.lines.port or 0))

    def values(self) -> list[int]:
        return [int(record.values["n"]) for record in self.records]

    def close(self) -> None:
        self.lines.stop()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_lines_come_whole_however_the_network_cuts_them(server: Server) -> None:
    with server.connect() as client:
        for part in (b'{"n"', b": 1}\n{", b'"n": 2}\n\n{"n": 3', b"}\n"):
            client.sendall(part)
        until(lambda: server.values() == [1, 2, 3], "three objects")
    assert not server.lines.drops


def test_the_last_line_needs_no_end(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b'{"n": 1}')
    until(lambda: server.values() == [1], "the object")


def test_lines_that_are_no_objects_are_counted(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b'[1]\n{"n": 1\n\xff\xff\n"n"\n' + b"[" * 9999 + b'\n{"n": 7}\n')
        until(lambda: server.values() == [7], "the object")
    assert server.lines.drops == {"line_malformed": 5}


def test_a_line_that_never_ends_takes_no_memory_and_the_next_is_read(server: Server) -> None:
    with server.connect() as client:
        for _ in range(20):
            client.sendall(b"x" * MAX_BYTES)
        client.sendall(b'\n{"n": 7}\n')
        until(lambda: server.values() == [7], "the object")
    assert server.lines.drops == {"line_too_long": 1}


def test_programs_may_come_and_go_and_talk_at_once(server: Server) -> None:
    with server.connect() as first, server.connect() as second:
        first.sendall(b'{"n": 1}\n')
        until(lambda: server.values() == [1], "the first")
        second.sendall(b'{"n": 2}\n')
        until(lambda: server.values() == [1, 2], "the second")
    with server.connect() as third:
        third.sendall(b'{"n": 3}\n')
        until(lambda: server.values() == [1, 2, 3], "the third")
    until(lambda: server.events.count("a program disconnected") == 3, "three farewells")


def test_one_program_too_many_is_refused_and_told(server: Server) -> None:
    clients = [server.connect() for _ in range(9)]
    until(lambda: server.lines.drops["connection_refused"] == 1, "the refusal")
    assert sum("refused" in event for event in server.events) == 1
    assert clients[8].recv(1) == b""
    for client in clients:
        client.close()


def test_a_flood_loses_nothing(server: Server) -> None:
    count = 20_000
    with server.connect() as client:
        client.sendall(b"".join(b'{"n": %d}\n' % index for index in range(count)))
        until(lambda: len(server.records) == count, "the flood")
    assert server.values() == list(range(count))


def test_a_port_that_is_taken_is_told(server: Server) -> None:
    with pytest.raises(InputError, match="choose another port"):
        JsonLines(server.lines.port)


def test_standard_input_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as standard_input, os.fdopen(write_end, "wb") as pipe:
        monkeypatch.setattr(sys, "stdin", standard_input)
        pipe.write(b'{"n": 1}\noops\n{"n": 2}')
        pipe.close()
        lines = JsonLines()
        assert [record.values["n"] for record in lines.records()] == [1, 2]
    assert lines.drops == {"line_malformed": 1}


def test_standard_input_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"n": 1}\n{"n": 2}\n')
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=file.fileno))
        assert [record.values["n"] for record in JsonLines().records()] == [1, 2]


@pytest.mark.parametrize("text", [b"", b"1", b"[]", b"{", b"\xff", b'"a"', b"NaN" * 10])
def test_what_is_no_object_gives_none(text: bytes) -> None:
    assert json_object(text) is None


def test_text_that_is_too_long_gives_none() -> None:
    padded = json.dumps({"a": "x" * MAX_BYTES}).encode()
    assert json_object(padded) is None
    assert json_object(b'{"a": 1}') == {"a": 1}
