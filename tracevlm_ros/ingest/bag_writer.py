"""Writing rosbag2 bags without a ROS installation: raw CDR as it comes, or typed messages."""

from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys.store import Typestore

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.settings import require_choice
from tracevlm_ros.ingest.message_types import message_class, typestore
from tracevlm_ros.ingest.sqlite_storage import CommittingWriter, Sqlite3Storage

STORAGES = ("mcap", "sqlite3")
_UNSET = QosTime(0, 0)


class BagWriter:
    """A new bag in the folder ``path``, which must not exist. Use as a context manager.

    Leaving it by an error still writes the index, so that a recording that fails stays readable.
    ``store`` holds the message types; the shared one knows ROS 2's and tracevlm_msgs.
    ``compress`` packs the chunks of an MCAP file with zstd; SQLite3 has no such thing.
    """

    def __init__(
        self,
        path: str | Path,
        storage: str = "mcap",
        store: Typestore | None = None,
        *,
        compress: bool = False,
    ) -> None:
        require_choice("storage", storage, STORAGES)
        self.path = Path(path)
        if self.path.exists():
            raise InputError(
                f"{self.path} exists and is not overwritten; name another folder or remove it"
            )
        self.store = store or typestore()
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = CommittingWriter(self.path, version=9, storage_plugin=plugin)
        if compress and storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise InputError(
                f"bag {self.path} cannot be created: {error}; check the path and the free space"
            ) from error

    def add_topic(
        self, name: str, msgtype: str, *, reliable: bool = True, latched: bool = False
    ) -> None:
        """Declare a topic; ``reliable`` and ``latched`` become its offered QoS when it is replayed.

        Raises InputError when it is there with another type, or the type is unknown.
        """
        known = self._connections.get(name)
        if known is not None and known.msgtype == msgtype:
            return
        if known is not None:
            raise InputError(
                f"topic {name} is {known.msgtype} in bag {self.path}; it cannot also be {msgtype}"
            )
        message_class(msgtype, self.store)
        self._connections[name] = self._writer.add_connection(
            name,
            msgtype,
            typestore=self.store,
            offered_qos_profiles=[_qos(reliable=reliable, latched=latched)],
        )

    def write_raw(self, topic: str, msgtype: str, log_ns: int, raw: bytes | memoryview) -> None:
        """Append CDR bytes as they are; an undeclared topic is declared."""
        connection = self._connections.get(topic)
        if connection is None or connection.msgtype != msgtype:
            self.add_topic(topic, msgtype)
            connection = self._connections[topic]
        self._writer.write(connection, log_ns, raw)

    def write(self, topic: str, message: Any, log_ns: int) -> None:
        """Serialise and append ``message``, an object of a class of the store."""
        msgtype: str = message.__msgtype__
        self.write_raw(topic, msgtype, log_ns, self.store.serialize_cdr(message, msgtype))

    def flush(self) -> None:
        """Give the messages so far to the operating system: they outlive this process.

        Each call ends a chunk of MCAP or commits to SQLite3, so call it about once a second.
        """
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        elif isinstance(storage, Sqlite3Storage):
            storage.commit()

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _qos(*, reliable: bool, latched: bool) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        _UNSET,
        _UNSET,
        QosLiveliness.AUTOMATIC,
        _UNSET,
        False,
    )
