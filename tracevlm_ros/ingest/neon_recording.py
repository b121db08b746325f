"""Native recordings of Pupil Labs Neon: a folder of raw arrays with one file of times for each.

``gaze*.raw`` holds float32 pairs of scene pixels (1600x1200, from the corner), ``gaze*.time``
int64 nanoseconds since the Unix epoch. ``gaze_200hz`` is the full rate where it was computed; else
the parts ``gaze ps1``, ``gaze ps2`` ... follow each other. A reading counts as unseen (confidence
0) while the headset was not worn (``worn*.raw``, 0) and during blinks (``blinks ps*.raw``).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, GazeSample, IntArray
from tracevlm_ros.ingest.gaze_table import NEON_SCENE_HW, seen_or_not
from tracevlm_ros.ingest.scene_pixels import from_corner_pixels

_FULL_RATE = "gaze_200hz"
_BLINK = np.dtype([("event_type", "<i4"), ("start_ns", "<i8"), ("end_ns", "<i8")])


def is_neon_recording(path: Path) -> bool:
    """Whether ``path`` is a folder with ``info.json`` and at least one ``gaze*.raw``."""
    return path.is_dir() and (path / "info.json").is_file() and bool(_streams(path))


def read_gaze(path: Path, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Readings in the order of recording, scaled to a scene of ``size_hw``.

    Raises InputError for files that break off or whose lengths differ.
    """
    streams = _streams(path)
    if not streams:
        raise InputError(f"{path} holds no gaze*.raw; give the folder of a Neon recording")
    blinks = _blinks(path)
    for stream in streams:
        xy_px, stamps = _gaze(stream)
        unseen = ~_worn(stream, len(stamps)) | _within(stamps, blinks)
        for (x, y), stamp, hidden in zip(
            xy_px.tolist(), stamps.tolist(), unseen.tolist(), strict=True
        ):
            x_px, y_px = from_corner_pixels(x, y, NEON_SCENE_HW, size_hw)
            yield seen_or_not(stamp, x_px, y_px, 0.0 if hidden else 1.0)


def _streams(path: Path) -> list[Path]:
    full = path / f"{_FULL_RATE}.raw"
    if full.is_file():
        return [full]
    return sorted(path.glob("gaze ps*.raw"), key=lambda part: (len(part.name), part.name))


def _array(path: Path, dtype: np.dtype[np.generic]) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    size = path.stat().st_size
    if size % dtype.itemsize:
        raise InputError(
            f"{path} has {size} bytes, which is no multiple of {dtype.itemsize}: it breaks off; "
            "copy it again from the device"
        )
    return np.fromfile(path, dtype)


def _gaze(stream: Path) -> tuple[FloatArray, IntArray]:
    times = stream.with_suffix(".time")
    if not times.is_file():
        raise InputError(f"{times} is missing beside {stream.name}; copy the whole recording")
    xy = _array(stream, np.dtype("<f4")).astype(np.float64)
    stamps = _array(times, np.dtype("<i8")).astype(np.int64)
    if len(xy) != 2 * len(stamps):
        raise InputError(
            f"{stream} holds {len(xy) // 2} readings but {times.name} {len(stamps)} times; "
            "copy the recording again"
        )
    return xy.reshape(-1, 2), stamps


def _worn(stream: Path, count: int) -> BoolArray:
    """True where the headset was worn; all true when that was not recorded at this rate."""
    path = stream.with_name(stream.name.replace("gaze", "worn", 1))
    if not path.is_file():
        return np.ones(count, np.bool_)
    worn = _array(path, np.dtype("u1"))
    return np.asarray(worn != 0) if len(worn) == count else np.ones(count, np.bool_)


def _blinks(path: Path) -> IntArray:
    """Starts and ends (N, 2) in nanoseconds."""
    parts = [_array(part, _BLINK) for part in sorted(path.glob("blinks ps*.raw"))]
    if not parts:
        return np.empty((0, 2), np.int64)
    events = np.concatenate(parts)
    return np.stack([events["start_ns"], events["end_ns"]], axis=1).astype(np.int64)


def _within(stamps: IntArray, intervals: IntArray) -> BoolArray:
    hidden = np.zeros(len(stamps), np.bool_)
    for start, end in intervals.tolist():
        hidden |= (stamps >= start) & (stamps <= end)
    return hidden
