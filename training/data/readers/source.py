"""What a reader is told, and what every reader can do."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.readers.records import Record
from training.data.readers.splits import agreed_split, require_training

MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What taking apart a document of another form raises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the data lies. ``annotations`` is a file or folder, ``images`` the folder of pictures
    (by default found near the annotations), ``split`` is told or taken from the path.

    ``training`` refuses all but training data; ``excluded`` are COCO image ids never given
    (``splits.read_excluded``). ConfigError where these contradict each other.
    """

    annotations: Path
    images: Path | None = None
    split: str = ""
    training: bool = True
    excluded: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        split = agreed_split(self.annotations, self.split)
        if self.training:
            require_training(split, self.annotations)
        object.__setattr__(self, "split", split)


class Reader(Protocol):
    """Records by index, so that they can be shuffled, sharded and resumed.

    ``read`` gives None for what cannot be used, counted by reason in ``drops``, whenever it is
    asked. Opening counts what is seen at once (annotations without image).
    """

    name: str
    split: str
    drops: Drops

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record | None: ...


def read_json(path: Path) -> Any:
    """The document in ``path``; InputError when it is absent or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); copy it again") from error


def require_keys(path: Path, document: object, *keys: str) -> dict[str, Any]:
    """``document`` as a mapping that has ``keys``; InputError naming what is missing."""
    if not isinstance(document, Mapping):
        raise InputError(f"{path} holds a {type(document).__name__}; it must be an object")
    missing = [key for key in keys if key not in document]
    if missing:
        raise InputError(f"{path} lacks '{missing[0]}'; it is not of the form expected here")
    return dict(document)


@contextmanager
def expected_form(path: Path, form: str) -> Iterator[None]:
    """Errors of taking ``path`` apart become one InputError."""
    try:
        yield
    except MALFORMED as error:
        raise InputError(f"{path} is not of the form {form}: {error!r}; copy it again") from error


def find_folder(start: Path, *names: str) -> Path:
    """The first of ``names`` that is a folder in ``start`` or up to two levels above it.

    ``start`` itself when there is none: pictures then lie beside the annotations.
    """
    for base in (start, *list(start.parents)[:2]):
        for name in names:
            if (base / name).is_dir():
                return base / name
    return start
