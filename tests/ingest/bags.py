"""Tiny bags for the tests of this folder."""

from pathlib import Path

from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import message_class

START_NS = 1_700_000_000_000_000_000


def point(stamp_ns: int, x: float, y: float) -> object:
    time = message_class("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 10**9))
    header = message_class("std_msgs/msg/Header")(time, "camera")
    place = message_class("geometry_msgs/msg/Point")(x, y, 0.0)
    return message_class("geometry_msgs/msg/PointStamped")(header, place)


def write_points(path: Path, storage: str = "mcap", count: int = 50) -> Path:
    """A bag of ``count`` points on /gaze, one per millisecond, whose x counts up; also /note."""
    string = message_class("std_msgs/msg/String")
    with BagWriter(path, storage) as bag:
        bag.add_topic("/gaze", "geometry_msgs/msg/PointStamped", reliable=False)
        for index in range(count):
            stamp = START_NS + index * 1_000_000
            bag.write("/gaze", point(stamp, float(index), 2.0), stamp + 10)
            if index % 10 == 0:
                bag.write("/note", string(f"at {index}"), stamp + 20)
    return path


def storage_file(path: Path) -> Path:
    return next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
