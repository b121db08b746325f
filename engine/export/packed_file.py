"""A file of weights, each written once however many graphs use it. Needs no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 4096


class Region(NamedTuple):
    offset: int
    length: int


class PackedFile:
    """Grows until it is closed; every region begins on a page, so that it can be mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._regions: dict[str, Region] = {}

    def place(self, key: str, read: Callable[[], NDArray[np.uint8]]) -> Region:
        """Where the bytes of ``key`` lie. ``read`` gives them and is called once for each key."""
        if key not in self._regions:
            self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
            offset = self._file.tell()
            self._file.write(read().data)
            self._regions[key] = Region(offset, self._file.tell() - offset)
        return self._regions[key]

    def close(self) -> None:
        self._file.close()
