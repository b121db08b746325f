"""Targets that a person clicked: a table ``start_s, end_s, x_px, y_px``."""

import csv
from pathlib import Path

import numpy as np

from calibration.looks import NS_PER_S, TargetSpan
from tracevlm_ros.core.errors import InputError

COLUMNS = ("start_s", "end_s", "x_px", "y_px")


def read_clicked_targets(path: Path, first_frame_ns: int) -> list[TargetSpan]:
    """Rows as spans; seconds count from the first frame. Other columns are ignored.

    Raises InputError naming the line for missing columns, cells that are no finite numbers, and
    spans that do not end after their start.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{path} has no column {missing[0]}; its first line must name "
                    f"{','.join(COLUMNS)}"
                )
            rows = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"clicked points {path} cannot be read: {error}") from error
    if not rows:
        raise InputError(f"{path} holds no clicked points; add one line for each target")
    return [_span(row, f"{path} line {line}", first_frame_ns) for line, row in rows]


def _span(row: dict[str, str], place: str, first_frame_ns: int) -> TargetSpan:
    values = {}
    for name in COLUMNS:
        try:
            values[name] = float(row[name])
        except (TypeError, ValueError):
            raise InputError(f"{place}: {name} is {row[name]!r}; it must be a number") from None
        if not np.isfinite(values[name]):
            raise InputError(f"{place}: {name} is {row[name]}; it must be finite")
    if values["end_s"] <= values["start_s"]:
        raise InputError(
            f"{place}: the span ends at {values['end_s']:g} s, not after its start at "
            f"{values['start_s']:g} s; swap or correct them"
        )
    return TargetSpan(
        first_frame_ns + round(values["start_s"] * NS_PER_S),
        first_frame_ns + round(values["end_s"] * NS_PER_S),
        values["x_px"],
        values["y_px"],
    )
