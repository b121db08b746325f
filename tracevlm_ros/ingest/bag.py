"""rosbag2 bags, MCAP or SQLite3, without a ROS installation.

``BagReader`` gives records in order of log time, as raw CDR with lazy decoding; ``BagWriter``
takes raw or typed messages. A bag of several files is read file after file, as it was recorded.
An MCAP file that lost its end still gives the messages before the damage (``BagReader.damage``
says what is missing); rosbags itself refuses such files, so they are walked by ``mcap_salvage``.
A SQLite3 file that was left in the middle of a write is brought back to the last commit; any other
damage to it is refused: its pages cannot be trusted.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError, get_types_from_msg
from rosbags.typesys.store import Typestore

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.mcap_salvage import UNPACK_ERRORS, SalvagedMcap
from tracevlm_ros.ingest.message_types import message_class, new_typestore
from tracevlm_ros.ingest.sqlite_storage import recover
from tracevlm_ros.ingest.topics import BagTopic, TopicKind, choose_topic

_SUFFIXES = (".mcap", ".db3")


class BagRecord(NamedTuple):
    """One message of a bag. ``log_ns`` is when it was recorded; ``raw`` is CDR, never copied here;
    ``decode`` makes a message object of it, whose fields are named as in its ``.msg`` file."""

    topic: str
    msgtype: str
    log_ns: int
    raw: bytes
    store: Typestore

    def decode(self) -> Any:
        """Raises InputError when the bytes are not a message of this type."""
        try:
            return self.store.deserialize_cdr(self.raw, self.msgtype)
        except (SerdeError, TypesysError, KeyError) as error:
            message_class(self.msgtype, self.store)
            raise InputError(
                f"message on {self.topic} at {self.log_ns} ns is no valid {self.msgtype} "
                f"({len(self.raw)} bytes: {error}); the bag is damaged or of another version"
            ) from error


class _Source(Protocol):
    """One storage: a whole bag read by rosbags, or one salvaged file."""

    definitions: dict[str, str]
    topics: tuple[BagTopic, ...]
    span_ns: tuple[int, int]

    def messages(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[BagTopic, int, bytes]]: ...


class BagReader:
    """Use as a context manager. Raises InputError for what is no bag, is empty or cannot be read.

    ``path`` is a bag folder or one of its files (.mcap, .db3).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: str | None = None
        self._stack = ExitStack()
        self._sources: list[_Source] = []
        self.store = new_typestore()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Every topic with its type and number of messages, by name."""
        counts: dict[tuple[str, str], int] = {}
        for source in self._sources:
            for topic in source.topics:
                key = (topic.name, topic.msgtype)
                counts[key] = counts.get(key, 0) + topic.message_count
        return tuple(BagTopic(*key, count) for key, count in sorted(counts.items()))

    @property
    def start_ns(self) -> int:
        """Log time of the first message."""
        return min(source.span_ns[0] for source in self._sources if source.span_ns[1])

    @property
    def end_ns(self) -> int:
        """Just after the log time of the last message (half-open)."""
        return max(source.span_ns[1] for source in self._sources)

    @property
    def message_count(self) -> int:
        return sum(topic.message_count for topic in self.topics)

    def find(self, kind: TopicKind, name: str | None = None) -> BagTopic:
        """The topic ``name``, or without a name the only one that can serve as ``kind``.

        Raises InputError when it is not in the bag, has the wrong type, or the choice is open.
        """
        return choose_topic(self.topics, kind, name, str(self.path))

    def records(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagRecord]:
        """Records of ``topics`` (None: all) with ``start_ns <= log_ns < stop_ns``, by log time.

        Raises InputError for a topic that the bag lacks, and where damaged data begins.
        """
        known = {topic.name for topic in self.topics}
        chosen = known if topics is None else set(topics)
        if missing := sorted(chosen - known):
            raise InputError(
                f"bag {self.path} has no topic {missing[0]}; it has {', '.join(sorted(known))}"
            )
        count = 0
        try:
            for source in self._sources:
                for topic, log_ns, raw in source.messages(chosen, start_ns, stop_ns):
                    count += 1
                    yield BagRecord(topic.name, topic.msgtype, log_ns, raw, self.store)
        except (ReaderError, EOFError, OSError, *UNPACK_ERRORS) as error:
            raise InputError(
                f"bag {self.path} is damaged after message {count}: {error}; cut it there or "
                "restore it from its source"
            ) from error

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> "BagReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        if not self.path.exists():
            raise InputError(
                f"bag {self.path} does not exist; give a bag folder or .mcap/.db3 file"
            )
        files = _storage_files(self.path)
        for file in files:
            if file.suffix == ".db3" and recover(file):
                self.damage = f"{file}: what its writer had not committed when it ended is lost"
        if (self.path / "metadata.yaml").exists():
            try:
                self._sources = [self._open_by_rosbags(self.path)]
            except (ReaderError, OSError):
                self._sources = [self._open_file(file) for file in files]
        else:
            self._sources = [self._open_file(file) for file in files]
        if self.message_count == 0:
            raise InputError(
                f"bag {self.path} holds no messages"
                + (f" ({self.damage})" if self.damage else "")
                + "; record again and see that its topics are published (ros2 topic hz)"
            )
        for source in self._sources:
            self._learn(source.definitions)

    def _open_file(self, path: Path) -> _Source:
        """One storage file; a broken MCAP is salvaged."""
        if path.stat().st_size == 0:
            raise InputError(
                f"bag file {path} has 0 bytes: its recorder wrote nothing; record it again"
            )
        try:
            return self._open_by_rosbags(path)
        except (ReaderError, OSError, AssertionError, EOFError, TypeError) as error:
            if path.suffix != ".mcap":
                raise InputError(
                    f"bag file {path} cannot be read: {error}; repair it (sqlite3 {path.name} "
                    "'.recover'), or restore it from its source"
                ) from error
            salvaged = SalvagedMcap(path)
            self.damage = f"{path}: {salvaged.damage}"
            return _SalvagedSource(salvaged)

    def _open_by_rosbags(self, path: Path) -> _Source:
        reader = Reader(path)
        reader.open()
        self._stack.callback(reader.close)
        return _RosbagsSource(reader)

    def _learn(self, definitions: dict[str, str]) -> None:
        """Register the types that only the bag itself defines."""
        for msgtype, definition in definitions.items():
            if msgtype in self.store.types or not definition:
                continue
            try:
                found = get_types_from_msg(definition, msgtype)
            except TypesysError as error:
                raise InputError(
                    f"bag {self.path} defines {msgtype} in a way that cannot be parsed: {error}"
                ) from error
            self.store.register(
                {name: item for name, item in found.items() if name not in self.store.types}
            )


class _RosbagsSource:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._topics: dict[int, BagTopic] = {}
        self.definitions: dict[str, str] = {}
        for item in reader.connections:
            self._topics[item.id] = BagTopic(item.topic, item.msgtype, item.msgcount)
            if item.msgdef.format == MessageDefinitionFormat.MSG:
                self.definitions[item.msgtype] = item.msgdef.data
        self.topics = tuple(self._topics.values())
        filled = reader.message_count > 0
        self.span_ns = (reader.start_time, reader.end_time) if filled else (0, 0)

    def messages(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[BagTopic, int, bytes]]:
        chosen: list[Connection] = [c for c in self._reader.connections if c.topic in topics]
        if chosen:
            for connection, log_ns, raw in self._reader.messages(chosen, start_ns, stop_ns):
                yield self._topics[connection.id], log_ns, raw


class _SalvagedSource:
    def __init__(self, salvaged: SalvagedMcap) -> None:
        self._salvaged = salvaged
        self.definitions = {c.msgtype: c.definition for c in salvaged.channels.values()}
        counts = salvaged.counts()
        self._topics = {
            channel: BagTopic(channel.topic, channel.msgtype, counts[channel_id])
            for channel_id, channel in salvaged.channels.items()
        }
        self.topics = tuple(self._topics.values())
        self.span_ns = salvaged.span_ns()

    def messages(
        self, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[tuple[BagTopic, int, bytes]]:
        for message in self._salvaged.messages(topics, start_ns, stop_ns):
            yield self._topics[message.channel], message.log_ns, message.raw


def _storage_files(path: Path) -> list[Path]:
    """The storage files of a bag in the order of their names, which is that of recording."""
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise InputError(
                f"'{path}' is no bag file; a bag is a folder with metadata.yaml, .mcap or .db3"
            )
        return [path]
    files = [file for file in path.iterdir() if file.suffix in _SUFFIXES]
    if not files and not (path / "metadata.yaml").exists():
        raise InputError(
            f"folder {path} holds no bag: neither metadata.yaml nor a .mcap or .db3 file; "
            "give the folder that 'ros2 bag record' or 'tracevlm record' wrote"
        )
    return sorted(files, key=_recording_order)


def _recording_order(path: Path) -> tuple[int, str]:
    """rosbag2 numbers its files: name_2 comes before name_10."""
    number = path.stem.rpartition("_")[2]
    return (int(number) if number.isdigit() else 0, path.name)
