"""SQLite3 bags that outlive the process that writes them.

rosbags commits at close only, binds its connection to one thread, and reads a file as immutable,
without the journal that a killed writer leaves beside it.
"""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from tracevlm_ros.core.errors import InputError

_BESIDE = ("-journal", "-wal")


class Sqlite3Storage(Sqlite3Writer):
    """Any thread may use it, one at a time.

    The file itself is touched by ``commit`` only; what is written between two stays in memory.
    """

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(path, compression)
        self.conn.close()
        self.conn = sqlite3.connect(self.path, check_same_thread=False)
        self.conn.execute("PRAGMA cache_spill = OFF")
        self.cursor = self.conn.cursor()

    def commit(self) -> None:
        """What was written so far is in the file, whatever becomes of this process."""
        self.conn.commit()


class CommittingWriter(Writer):
    """A rosbags writer whose SQLite3 storage is a ``Sqlite3Storage``."""

    STORAGE_PLUGINS: Mapping[StoragePlugin, type[Any]] = {
        **Writer.STORAGE_PLUGINS,
        StoragePlugin.SQLITE3: Sqlite3Storage,
    }


def recover(path: Path) -> bool:
    """Let SQLite end what a killed writer had begun in the file ``path``; True if there was any.

    A writer that lives holds a lock and is not disturbed. Raises InputError where it fails.
    """
    beside = _left_beside(path)
    if not beside:
        return False
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise InputError(
            f"bag file {path} was left in the middle of a write, which cannot be undone: {error}; "
            f"copy it with {', '.join(beside)} to a folder that you may write in, or restore it"
        ) from error
    return not _left_beside(path)


def _left_beside(path: Path) -> list[str]:
    """Names of journals that hold something."""
    files = (path.with_name(path.name + suffix) for suffix in _BESIDE)
    return [file.name for file in files if file.exists() and file.stat().st_size]
