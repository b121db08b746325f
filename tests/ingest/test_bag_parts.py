"""A recorder's bag on a disk that is full, and has room again."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest import message_build as build
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_parts import RETRY_S, BagParts
from tracevlm_ros.ingest.message_types import typestore

TOPIC, TYPE = "/text", "std_msgs/msg/Header"
PADDING = "x" * 2000


def raw(index: int) -> bytes:
    message = build.header(index, PADDING)
    return bytes(typestore().serialize_cdr(message, TYPE))


def stamps(bag: Path) -> list[int]:
    with BagReader(bag) as reader:
        return [record.decode().stamp.nanosec for record in reader.records([TOPIC])]


class Rig:
    """Parts with a disk and a clock that the test sets."""

    def __init__(self, path: Path, storage: str = "mcap", **options: Any) -> None:
        self.free = 10_000_000
        self.now_s = 100.0
        self.said: list[str] = []
        self.parts = BagParts(
            path,
            storage,
            self.said.append,
            compress=False,
            min_free_bytes=1_000_000,
            free=lambda _folder: self.free,
            now_s=lambda: self.now_s,
            **options,
        )
        self.parts.add_topic(TOPIC, TYPE, reliable=True, latched=False)
        self.written: list[int] = []
        self.lost: list[int] = []

    def write(self, first: int, count: int) -> None:
        for index in range(first, first + count):
            is_written = self.parts.write_raw(TOPIC, TYPE, index + 1, raw(index))
            (self.written if is_written else self.lost).append(index)


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond ``size``: a real write error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_little_room_closes_the_part_whole_and_the_next_one_begins_when_there_is_room(
    tmp_path: Path, storage: str
) -> None:
    rig = Rig(tmp_path / "bag", storage)
    rig.write(0, 5)
    rig.free = 900_000
    rig.parts.flush()
    assert rig.parts.is_paused
    rig.now_s += 10 * RETRY_S
    rig.write(5, 3)
    rig.free = 5_000_000
    rig.now_s += 10 * RETRY_S
    rig.write(8, 4)
    rig.parts.close()
    assert rig.lost == [5, 6, 7]
    assert stamps(tmp_path / "bag") == [0, 1, 2, 3, 4]
    assert stamps(tmp_path / "bag_2") == [8, 9, 10, 11]
    assert (tmp_path / "bag" / "metadata.yaml").exists()
    pause, resume = rig.said
    assert "min_free_mb" in pause
    assert "bag_2" in resume


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_write_that_fails_loses_little_counts_it_and_recording_goes_on(
    tmp_path: Path, storage: str
) -> None:
    rig = Rig(tmp_path / "bag", storage)
    with largest_file(100_000):
        for first in range(0, 100, 5):
            rig.write(first, 5)
            rig.parts.flush()
        assert rig.parts.is_paused
    assert len(rig.said) == 1
    assert "writing failed" in rig.said[0]
    rig.now_s += 10 * RETRY_S
    rig.write(200, 3)
    rig.parts.close()
    assert stamps(tmp_path / "bag_2") == [200, 201, 202]
    saved = stamps(tmp_path / "bag")
    assert saved == list(range(len(saved)))
    before = [index for index in rig.written if index < 200]
    assert len(before) - rig.parts.take_lost() == len(saved)
    assert rig.parts.take_lost() == 0
    assert len(saved) >= 30  # of the 100 kB that fitted; a chunk of 5 was cut off


def test_a_disk_without_room_refuses_the_recording_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="min_free_mb"):
        BagParts(
            tmp_path / "bag",
            "mcap",
            lambda _text: None,
            compress=False,
            min_free_bytes=10,
            free=lambda _folder: 9,
        )


def test_looking_for_room_is_not_done_at_every_message(tmp_path: Path) -> None:
    looks = []
    rig = Rig(tmp_path / "bag")
    rig.free = 0
    rig.parts.flush()
    rig.parts._free = lambda folder: looks.append(folder) or 0
    rig.write(0, 50)
    assert looks == []
    rig.now_s += 2 * RETRY_S
    rig.write(50, 50)
    assert len(looks) == 1
