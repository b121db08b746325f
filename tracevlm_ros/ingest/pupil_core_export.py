"""Gaze of a Pupil Core recording as Pupil Player exports it: ``gaze_positions.csv``.

Times are seconds of the Pupil clock, places 0..1 of the scene with the origin at the bottom left.
"""

from collections.abc import Iterator
from pathlib import Path

from tracevlm_ros.core.types import GazeSample
from tracevlm_ros.ingest.gaze_table import (
    Row,
    header_of,
    number,
    read_rows,
    seconds_to_ns,
    seen_or_not,
)
from tracevlm_ros.ingest.scene_pixels import from_normalised

_FILE = "gaze_positions.csv"
_COLUMNS = {"gaze_timestamp", "norm_pos_x", "norm_pos_y", "confidence"}


def is_pupil_core_export(path: Path) -> bool:
    """Whether ``path`` is such a table or a folder that holds one."""
    return set(header_of(_table(path))) >= _COLUMNS


def read_gaze(path: Path, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Readings in the order of the export, in pixels of a scene of ``size_hw``."""
    return read_rows(_table(path), _to_sample, size_hw)


def _table(path: Path) -> Path:
    return path / _FILE if path.is_dir() else path


def _to_sample(row: Row, size_hw: tuple[int, int]) -> GazeSample:
    x, y = from_normalised(number(row, "norm_pos_x"), 1.0 - number(row, "norm_pos_y"), size_hw)
    stamp = seconds_to_ns(row["gaze_timestamp"], 1_000_000_000)
    return seen_or_not(stamp, x, y, number(row, "confidence"))
