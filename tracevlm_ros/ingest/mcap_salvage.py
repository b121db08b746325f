"""Reading what is left of an MCAP file whose end is missing: what a killed recorder leaves.

MCAP is a sequence of records: one byte of kind, eight of length, the content. All that the index
at the end says can be found again by walking from the start, up to the damage. Kinds and layouts
are those of the MCAP specification, version 0.
"""

import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import lz4.frame  # type: ignore[import-untyped]

from tracevlm_ros.core.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")

# What unpacking a damaged chunk raises: zstd, lz4 (RuntimeError) and the layout of its records.
UNPACK_ERRORS = (zstd.ZstdError, RuntimeError, ValueError, struct.error)


class SalvagedChannel(NamedTuple):
    """``definition`` is the text of the message type as the file holds it."""

    topic: str
    msgtype: str
    definition: str


class SalvagedMessage(NamedTuple):
    channel: SalvagedChannel
    log_ns: int
    raw: bytes


class _Place(NamedTuple):
    """Where a message lies: ``chunk`` is the offset of its chunk, or -1 when it has none."""

    log_ns: int
    chunk: int
    offset: int
    size: int
    channel_id: int


class SalvagedMcap:
    """The readable part of ``path``. Raises InputError when it does not even begin as MCAP."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: dict[int, SalvagedChannel] = {}
        self.damage = "the end of the file is missing"
        self._schemas: dict[int, tuple[str, str]] = {}
        self._places: list[_Place] = []
        self._loaded: tuple[int, bytes] = (-1, b"")
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError(
                    f"{path} is no MCAP file (it does not begin with the MCAP magic); check the "
                    "path, or record it again"
                )
            self._walk_file(file)
        self._places.sort()

    def counts(self) -> dict[int, int]:
        """Messages per channel id."""
        totals = dict.fromkeys(self.channels, 0)
        for place in self._places:
            totals[place.channel_id] += 1
        return totals

    def span_ns(self) -> tuple[int, int]:
        """Log time of the first message and just after the last; (0, 0) when there are none."""
        if not self._places:
            return 0, 0
        return self._places[0].log_ns, self._places[-1].log_ns + 1

    def messages(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[SalvagedMessage]:
        """Messages of ``topics`` with ``start_ns <= log time < stop_ns``, in order of log time."""
        with self.path.open("rb") as file:
            for place in self._places:
                channel = self.channels[place.channel_id]
                if channel.topic not in topics:
                    continue
                if start_ns is not None and place.log_ns < start_ns:
                    continue
                if stop_ns is not None and place.log_ns >= stop_ns:
                    return
                yield SalvagedMessage(channel, place.log_ns, self._load(file, place))

    def _load(self, file: BinaryIO, place: _Place) -> bytes:
        if place.chunk < 0:
            file.seek(place.offset)
            return file.read(place.size)
        if self._loaded[0] != place.chunk:
            file.seek(place.chunk)
            kind, size = _HEAD.unpack(file.read(_HEAD.size))
            assert kind == _CHUNK
            self._loaded = (place.chunk, _unpack_chunk(file.read(size)))
        return self._loaded[1][place.offset : place.offset + place.size]

    def _walk_file(self, file: BinaryIO) -> None:
        end = self.path.stat().st_size
        while (at := file.tell()) + _HEAD.size <= end:
            kind, size = _HEAD.unpack(file.read(_HEAD.size))
            if kind == _DATA_END:
                self.damage = "the index at the end of the file is damaged; no message is lost"
                return
            if at + _HEAD.size + size > end:
                self.damage = f"the file breaks off inside a record at byte {at} of {end}"
                return
            if kind == _MESSAGE:
                self._note_message(file.read(size), -1, at + _HEAD.size)
            elif kind == _CHUNK:
                try:
                    content = _unpack_chunk(file.read(size))
                except UNPACK_ERRORS as error:
                    self.damage = f"the chunk at byte {at} of {end} cannot be unpacked ({error})"
                    return
                self._walk_chunk(content, at)
            else:
                self._note_type(kind, file.read(size))

    def _walk_chunk(self, content: bytes, chunk: int) -> None:
        at = 0
        while at + _HEAD.size <= len(content):
            kind, size = _HEAD.unpack_from(content, at)
            body = memoryview(content)[at + _HEAD.size : at + _HEAD.size + size]
            if kind == _MESSAGE:
                self._note_message(body, chunk, at + _HEAD.size)
            else:
                self._note_type(kind, bytes(body))
            at += _HEAD.size + size

    def _note_message(self, body: bytes | memoryview, chunk: int, offset: int) -> None:
        channel_id, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(body)
        if channel_id in self.channels:
            start = offset + _MESSAGE_HEAD.size
            size = len(body) - _MESSAGE_HEAD.size
            self._places.append(_Place(log_ns, chunk, start, size, channel_id))

    def _note_type(self, kind: int, body: bytes) -> None:
        if kind == _SCHEMA:
            schema_id = int.from_bytes(body[:2], "little")
            name, at = _string(body, 2)
            _, at = _string(body, at)
            definition, _ = _string(body, at)
            self._schemas[schema_id] = (name, definition)
        elif kind == _CHANNEL:
            channel_id, schema_id = struct.unpack_from("<HH", body)
            topic, _ = _string(body, 4)
            self.channels[channel_id] = SalvagedChannel(topic, *self._schemas[schema_id])


def _string(body: bytes, at: int) -> tuple[str, int]:
    """The length-prefixed text at ``at`` and where it ends."""
    (size,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + size].decode(errors="replace"), at + 4 + size


def _unpack_chunk(body: bytes) -> bytes:
    """The records of a chunk, decompressed."""
    compression, at = _string(body, _CHUNK_HEAD.size)
    packed = body[at + 8 :]
    if compression == "zstd":
        return bytes(zstd.decompress(packed))
    if compression == "lz4":
        unpacked: Any = lz4.frame.decompress(packed)
        return bytes(unpacked)
    return packed
