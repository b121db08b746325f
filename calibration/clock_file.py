"""A measured clock offset as a file: versioned YAML, for people and for later runs."""

from pathlib import Path
from typing import Any

import yaml

from calibration.clock_offset import ClockOffset
from tracevlm_ros.core.errors import InputError

FORMAT = "tracevlm clock offset"
FORMAT_VERSION = 1


def write_offset(path: Path, found: ClockOffset, notes: dict[str, Any]) -> None:
    """``notes`` (source, date) are for people."""
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "offset_ns": found.offset_ns,
        "drift_ppm": found.drift_ppm,
        "start_ns": found.start_ns,
        "correlation": found.correlation,
        "windows": found.windows,
        "notes": notes,
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def read_offset(path: Path) -> ClockOffset:
    """Read what ``write_offset`` wrote; raises InputError naming path, value and remedy."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"clock offset {path} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path} is no clock offset; make one with: tracevlm calibrate clock")
    if document.get("version") != FORMAT_VERSION:
        raise InputError(
            f"clock offset {path} has version {document.get('version')}, this reads "
            f"{FORMAT_VERSION}: measure again"
        )
    try:
        return ClockOffset(
            offset_ns=int(document["offset_ns"]),
            drift_ppm=float(document["drift_ppm"]),
            start_ns=int(document["start_ns"]),
            correlation=float(document["correlation"]),
            windows=int(document["windows"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"clock offset {path} lacks or garbles {error}") from error
