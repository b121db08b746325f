"""A recording that survives a full disk: it pauses, and goes on in a new part when there is room.

The first part is the bag ``path`` itself, the next ones are ``path_2``, ``path_3`` ...; each is a
bag of its own. A part that could not be closed (the disk was full to the last byte) lacks its index
and is read as a killed recorder's is.
"""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rosbags.rosbag2 import WriterError

from tracevlm_ros.core.errors import InputError, TraceVLMError
from tracevlm_ros.ingest.bag_writer import BagWriter

RETRY_S = 1.0
"""Until the first look whether there is room again; doubled while new parts fail at once."""
_LONGEST_RETRY_S = 32.0
_WRITE_ERRORS = (OSError, sqlite3.Error, WriterError)


class _Topic(NamedTuple):
    msgtype: str
    reliable: bool
    latched: bool


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    return shutil.disk_usage(folder).free


class BagParts:
    """Not thread-safe. ``say`` gets one line when writing stops and when it goes on.

    Writing stops when fewer than ``min_free_bytes`` are left, or when a write fails. Raises
    InputError when even the first part cannot be begun.
    """

    def __init__(
        self,
        path: Path,
        storage: str,
        say: Callable[[str], object],
        *,
        compress: bool,
        min_free_bytes: int,
        free: Callable[[Path], int] = free_bytes,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._storage = storage
        self._say = say
        self._compress = compress
        self._min_free_bytes = min_free_bytes
        self._free = free
        self._now_s = now_s
        self._topics: dict[str, _Topic] = {}
        self._parts = 0
        self._retry_s = 0.0
        self._pause_s = RETRY_S
        self._writer: BagWriter | None = None
        self._unsafe = 0
        self._lost = 0
        self._begin_part()
        if (left := self._missing_room()) is not None:
            self.close()
            raise InputError(f"bag {path} has no room: {left}")

    @property
    def is_paused(self) -> bool:
        return self._writer is None

    def add_topic(self, name: str, msgtype: str, *, reliable: bool, latched: bool) -> None:
        """Declare a topic for this part and those to come; InputError as of BagWriter."""
        if self._writer is not None:
            self._writer.add_topic(name, msgtype, reliable=reliable, latched=latched)
        self._topics[name] = _Topic(msgtype, reliable, latched)

    def write_raw(self, topic: str, msgtype: str, log_ns: int, raw: bytes) -> bool:
        """Append CDR bytes; False when they are lost because there is no room."""
        if self._writer is None and not self._goes_on():
            return False
        assert self._writer is not None
        try:
            self._writer.write_raw(topic, msgtype, log_ns, raw)
        except _WRITE_ERRORS as error:
            self._fail(error)
            return False
        self._unsafe += 1
        return True

    def take_lost(self) -> int:
        """Messages that ``write_raw`` took and a write that failed later has lost, since the last
        call: all since the last ``flush``, of which MCAP may have saved some."""
        lost, self._lost = self._lost, 0
        return lost

    def flush(self) -> None:
        """Bring what was written to the disk, and look whether there is room for more."""
        if self._writer is None:
            self._goes_on()
            return
        try:
            self._writer.flush()
        except _WRITE_ERRORS as error:
            self._fail(error)
            return
        self._unsafe = 0
        self._pause_s = RETRY_S
        if (left := self._missing_room()) is not None:
            self._stop(left)

    def close(self) -> None:
        """Write the index of the part in progress; InputError when that fails."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except _WRITE_ERRORS as error:
            self._count_lost()
            raise InputError(
                f"bag {writer.path} could not be closed: {error}; "
                "what was written before can still be read"
            ) from error

    def _missing_room(self) -> str | None:
        left = self._free(self._path.parent)
        if left >= self._min_free_bytes:
            return None
        return (
            f"{left // 1_000_000} MB are free in {self._path.parent}, "
            f"{self._min_free_bytes // 1_000_000} MB are kept free (min_free_mb)"
        )

    def _fail(self, error: Exception) -> None:
        self._count_lost()
        self._stop(f"writing failed: {error}")

    def _count_lost(self) -> None:
        self._lost += self._unsafe
        self._unsafe = 0

    def _stop(self, why: str) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        with contextlib.suppress(*_WRITE_ERRORS):
            writer.close()
        self._retry_s = self._now_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_RETRY_S)
        self._say(f"recording pauses, what comes meanwhile is lost: {why}; make room")

    def _goes_on(self) -> bool:
        if self._now_s() < self._retry_s:
            return False
        self._retry_s = self._now_s() + RETRY_S
        if self._missing_room() is not None:
            return False
        try:
            self._begin_part()
        except (TraceVLMError, *_WRITE_ERRORS):
            return False
        self._say(f"recording goes on in {self._part_path()}")
        return True

    def _begin_part(self) -> None:
        self._parts += 1
        writer = BagWriter(self._part_path(), self._storage, compress=self._compress)
        for name, topic in self._topics.items():
            writer.add_topic(name, topic.msgtype, reliable=topic.reliable, latched=topic.latched)
        self._writer = writer

    def _part_path(self) -> Path:
        if self._parts == 1:
            return self._path
        return self._path.with_name(f"{self._path.name}_{self._parts}")
