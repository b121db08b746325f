"""Which data may be trained on: only what is known to be of a training split.

A reader knows its split from the path or is told. Training refuses everything else, and leaves out
the images that the test splits of RefCOCO, RefCOCO+ and RefCOCOg hold.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from tracevlm_ros.core.errors import ConfigError, InputError

TRAIN = "train"
HELD_OUT = ("dev", "val", "test")
_SYNONYMS = {
    "train": TRAIN,
    "training": TRAIN,
    "dev": "dev",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testa": "test",
    "testb": "test",
    "bench": "test",
}
_FOLDER = re.compile(r"(?:^|_)(dev|val|test|train)(?:20\d\d)?$")
_ANCESTORS = 3


def split_in(name: str) -> str:
    """The split that ``name`` mentions, a held-out one before train; empty when none."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {_SYNONYMS[word] for word in words if word in _SYNONYMS}
    return next((split for split in (*HELD_OUT[::-1], TRAIN) if split in found), "")


def split_of(path: Path) -> str:
    """The split that ``path`` belongs to, empty when neither its name nor its folders say.

    A held-out word anywhere wins: ``vidln_dev/OVIS_train.jsonl`` is dev. Of a folder's name the
    end counts (``photos_val2017``), of a file's any word (``HC_val_v2.json``).
    """
    path = path.resolve()
    folders = [path, *path.parents] if path.is_dir() else [*path.parents]
    found = [] if path.is_dir() else [split_in(path.name)]
    for folder in folders[:_ANCESTORS]:
        match = _FOLDER.search(folder.name.lower())
        found.append(match.group(1) if match else "")
    return next((split for split in found if split in HELD_OUT), TRAIN if TRAIN in found else "")


def agreed_split(path: Path, told: str) -> str:
    """``told`` or, when empty, what the path says.

    ConfigError when both speak and disagree on whether it is held out, or ``told`` is no split.
    """
    said = split_of(path)
    if told and told not in (TRAIN, *HELD_OUT):
        raise ConfigError(f"split is '{told}'; it must be one of {TRAIN}, {', '.join(HELD_OUT)}")
    if told == TRAIN and said in HELD_OUT:
        raise ConfigError(f"{path} is held out ({said}) but is told to be train; check the path")
    return told or said


def require_training(split: str, path: Path) -> None:
    """Raise ConfigError unless ``split`` is train."""
    if split in HELD_OUT:
        raise ConfigError(f"{path} is held out ({split}); train on a training split")
    if split != TRAIN:
        raise ConfigError(
            f"nothing says which split {path} is; name it so (..._train) or give split=train"
        )


def read_excluded(path: Path) -> frozenset[int]:
    """COCO image ids, one a line, '#' begins a comment. InputError when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return frozenset(int(text) for line in lines if (text := line.split("#")[0].strip()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no list of image ids ({error}); export it again") from error


def write_excluded(path: Path, image_ids: Iterable[int], origin: str) -> None:
    """The list that ``read_excluded`` reads, sorted, saying where it comes from."""
    ids = sorted(set(image_ids))
    head = f"# {len(ids)} COCO images of the test splits of {origin}; excluded from training\n"
    path.write_text(head + "".join(f"{number}\n" for number in ids), encoding="utf-8")
