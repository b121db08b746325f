"""Gaze in tables of text (.csv, .tsv): one reading a row, known by the names of its columns.

| columns | source | time | place |
|---|---|---|---|
| ``timestamp, norm_pos_x, norm_pos_y [, confidence]`` | mobileGazeMapping | ms | 0..1, y down |
| ``timestamp [ns], gaze x [px], gaze y [px] [, worn, blink id]`` | Pupil Cloud | ns | pixels |
| ``stamp_ns, x_px, y_px [, confidence, pen]`` | this package | ns | pixels |

Pixels of a Pupil Cloud export are those of its own scene camera (1600x1200, from the corner). An
empty cell or NaN means that the eye was not seen: the reading is passed on with confidence 0.
"""

import csv
from collections.abc import Callable, Iterator
from math import isfinite, nan
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample, PenState
from tracevlm_ros.ingest.scene_pixels import from_corner_pixels, from_normalised

NEON_SCENE_HW = (1200, 1600)

Row = dict[str, str]


class _Layout(NamedTuple):
    columns: tuple[str, ...]
    to_sample: Callable[[Row, tuple[int, int]], GazeSample]


def read_gaze(path: Path, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Readings in the order of the file, in pixels of a scene of ``size_hw``.

    Raises InputError naming the line for a cell that is no number, and for unknown columns.
    """
    return read_rows(path, _layout_of(path).to_sample, size_hw)


def is_gaze_table(path: Path) -> bool:
    """Whether the first line of ``path`` names the columns of one of the known tables."""
    header = header_of(path)
    return any(set(layout.columns) <= set(header) for layout in _LAYOUTS)


def header_of(path: Path) -> list[str]:
    """The names of the columns, or nothing when the file does not begin with text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            line = file.readline(10_000)
    except (UnicodeDecodeError, OSError):
        return []
    return [name.strip() for name in line.rstrip("\r\n").split(_delimiter(line))]


def read_rows(
    path: Path,
    to_sample: Callable[[Row, tuple[int, int]], GazeSample],
    size_hw: tuple[int, int],
) -> Iterator[GazeSample]:
    """Each row of the table through ``to_sample``; errors are told with the line."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        reader = csv.DictReader(file, delimiter=_delimiter(first), skipinitialspace=True)
        try:
            for row in reader:
                yield to_sample(row, size_hw)
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise InputError(
                f"{path} line {reader.line_num} is no reading: {error}; correct or remove it"
            ) from error


def number(row: Row, column: str, missing: float = nan) -> float:
    """The cell as a number; ``missing`` when it is empty or the table lacks the column."""
    text = row.get(column)
    return missing if text is None or not text.strip() else float(text)


def seen_or_not(
    stamp_ns: int, x: float, y: float, confidence: float, pen: PenState = PenState.UNKNOWN
) -> GazeSample:
    """A reading; without a finite place its confidence is 0."""
    if not (isfinite(x) and isfinite(y)):
        return GazeSample(stamp_ns, nan, nan, 0.0, pen)
    return GazeSample(stamp_ns, x, y, confidence, pen)


def seconds_to_ns(text: str, unit_ns: int) -> int:
    """A decimal number of ``unit_ns`` as whole nanoseconds, exact for up to 15 digits."""
    whole, _, fraction = text.strip().partition(".")
    scaled = round(float(f"0.{fraction or 0}") * unit_ns)
    sign = -1 if whole.startswith("-") else 1
    return int(whole or 0) * unit_ns + sign * scaled


def _delimiter(line: str) -> str:
    return max("\t;,", key=line.count)


def _layout_of(path: Path) -> _Layout:
    header = header_of(path)
    for layout in _LAYOUTS:
        if set(layout.columns) <= set(header):
            return layout
    known = "; ".join(", ".join(layout.columns) for layout in _LAYOUTS)
    raise InputError(
        f"{path} has the columns {', '.join(header) or '(none)'}; a gaze table has one of: {known}"
    )


def _from_mapping_table(row: Row, size_hw: tuple[int, int]) -> GazeSample:
    x, y = from_normalised(number(row, "norm_pos_x"), number(row, "norm_pos_y"), size_hw)
    stamp = seconds_to_ns(row["timestamp"], 1_000_000)
    return seen_or_not(stamp, x, y, number(row, "confidence", 1.0))


def _from_cloud_table(row: Row, size_hw: tuple[int, int]) -> GazeSample:
    x, y = number(row, "gaze x [px]"), number(row, "gaze y [px]")
    x, y = from_corner_pixels(x, y, NEON_SCENE_HW, size_hw)
    blinking = bool((row.get("blink id") or "").strip())
    worn = number(row, "worn", 1.0) > 0.0
    return seen_or_not(int(row["timestamp [ns]"]), x, y, float(worn and not blinking))


def _from_own_table(row: Row, size_hw: tuple[int, int]) -> GazeSample:  # noqa: ARG001
    pen = PenState(int(number(row, "pen", PenState.UNKNOWN)))
    x, y = number(row, "x_px"), number(row, "y_px")
    return seen_or_not(int(row["stamp_ns"]), x, y, number(row, "confidence", 1.0), pen)


_LAYOUTS = (
    _Layout(("timestamp", "norm_pos_x", "norm_pos_y"), _from_mapping_table),
    _Layout(("timestamp [ns]", "gaze x [px]", "gaze y [px]"), _from_cloud_table),
    _Layout(("stamp_ns", "x_px", "y_px"), _from_own_table),
)
