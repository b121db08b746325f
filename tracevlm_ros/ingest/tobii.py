"""Live data of Tobii Pro Glasses 2: JSON lines, plain or gzip (``livedata.json[.gz]``).

``ts`` counts microseconds of the glasses' clock; ``gp`` is the gaze in 0..1 of the scene video with
y down; ``s`` other than 0 marks an invalid reading. ``vts`` ties the clock to the scene video.
"""

import gzip
import json
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.scene_pixels import from_normalised

_NAMES = ("livedata.json.gz", "livedata.json")


def is_tobii_live_data(path: Path) -> bool:
    """Whether ``path`` is such a file or a folder that holds one."""
    file = _file(path)
    if file is None:
        return False
    try:
        with _opened(file) as lines:
            first = json.loads(next(iter(lines)))
    except (OSError, EOFError, ValueError, StopIteration):
        return False
    return isinstance(first, dict) and {"ts", "s"} <= set(first)


def read_gaze(path: Path, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Readings in the order of the file; invalid ones are NaN with confidence 0.

    Raises InputError naming the line for what is no JSON or breaks off.
    """
    for record in _records(path):
        if "gp" not in record:
            continue
        stamp = int(record["ts"]) * 1000
        if record["s"] != 0:
            yield GazeSample(stamp, nan, nan, 0.0)
            continue
        x, y = from_normalised(float(record["gp"][0]), float(record["gp"][1]), size_hw)
        yield GazeSample(stamp, x, y)


def video_start_ns(path: Path) -> int:
    """When the scene video began, on the clock of the readings (from its first ``vts`` mark)."""
    for record in _records(path):
        if "vts" in record:
            return (int(record["ts"]) - int(record["vts"])) * 1000
    raise InputError(f"{path} ties no reading to the scene video (no 'vts' record)")


def _file(path: Path) -> Path | None:
    if not path.is_dir():
        return path if path.is_file() else None
    return next((path / name for name in _NAMES if (path / name).is_file()), None)


def _opened(file: Path) -> Any:
    """Lines of text, unpacked when the file is gzip, whatever it is called."""
    with file.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rt", encoding="utf-8") if packed else file.open(encoding="utf-8")


def _records(path: Path) -> Iterator[dict[str, Any]]:
    file = _file(path)
    if file is None:
        raise InputError(f"{path} holds no {' or '.join(_NAMES)}")
    count = 0
    with _opened(file) as lines:
        try:
            for line in lines:
                count += 1
                if line.strip():
                    yield json.loads(line)
        except (ValueError, EOFError) as error:
            raise InputError(
                f"{file} is damaged near line {count}: {error}; copy it again from the recording"
            ) from error
