"""SQLite3 bags whose writer was killed, and one that is written by two threads."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest import message_build as build
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.sqlite_storage import recover

KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
connection.execute("PRAGMA cache_size = 1")
connection.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, 9, x'00')")
connection.commit()
connection.executemany(
    "INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, zeroblob(50000))",
    [(100 + index,) for index in range(100)],
)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Commits one message and is killed while more of them are half written."""


def write(path: Path, count: int) -> Path:
    with BagWriter(path, "sqlite3") as writer:
        for index in range(count):
            writer.write("/text", build.header(index, "x"), index + 1)
    return path / f"{path.name}.db3"


def times(path: Path) -> list[int]:
    with BagReader(path) as reader:
        return [record.log_ns for record in reader.records()]


def test_what_was_flushed_is_in_the_file_while_it_is_written(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", "sqlite3")
    for index in range(3):
        writer.write("/text", build.header(index, "x"), index + 1)
    writer.flush()
    writer.write("/text", build.header(9, "x" * 5_000_000), 10)
    assert times(tmp_path / "bag") == [1, 2, 3]
    writer.close()
    assert times(tmp_path / "bag") == [1, 2, 3, 10]


def test_another_thread_may_write(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", "sqlite3") as writer:
        message = build.header(1, "x")
        thread = threading.Thread(target=writer.write, args=("/text", message, 5))
        thread.start()
        thread.join()
    assert times(tmp_path / "bag") == [5]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_file_left_in_the_middle_of_a_write_is_read_up_to_the_last_commit(
    tmp_path: Path, mode: str
) -> None:
    file = write(tmp_path / "bag", 3)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file), mode], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(file.parent.glob("bag.db3-*"))) > 0
    with BagReader(file) as reader:
        assert [record.log_ns for record in reader.records()] == [1, 2, 3, 9]
        assert "not committed" in str(reader.damage)
    assert not recover(file)


def test_a_journal_of_which_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    file = tmp_path / "bag.db3"
    file.write_bytes(b"no database " * 500)
    file.with_name("bag.db3-journal").write_bytes(b"x" * 600)
    with pytest.raises(InputError, match=r"bag\.db3 was left .* bag\.db3-journal"):
        recover(file)
