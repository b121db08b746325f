"""Lines of a JSON Lines file by number, without holding the file in memory."""

import json
from array import array
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import InputError


class JsonLines:
    """``len`` and ``[]`` over the lines that are not blank. Line ends are found when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = array("q")
        try:
            with path.open("rb") as file:
                position = 0
                for line in file:
                    if line.strip():
                        self._starts.append(position)
                    position += len(line)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error}); check the path") from error

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any] | None:
        """The object on line ``index``; None when it is no JSON object."""
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            line = file.readline()
        try:
            record = json.loads(line)
        except ValueError:
            return None
        return record if isinstance(record, dict) else None
