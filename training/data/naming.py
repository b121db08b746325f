"""Data sets by name: a path, or ``synthetic:SEED:COUNT``."""

from collections.abc import Sequence
from pathlib import Path

from tracevlm_ros.core.errors import ConfigError
from training.data.readers.catalogue import open_reader
from training.data.readers.source import Reader
from training.data.readers.splits import read_excluded
from training.data.readers.synthetic import FORM, Synthetic, SyntheticSource

HELD_OUT_SYNTHETIC = "synthetic:1000003:200"
_COUNT = 20000


def open_data(
    names: Sequence[str], side: int, exclude: str = "", training: bool = True
) -> list[Reader]:
    """Readers of ``names``: paths, or ``synthetic:SEED:COUNT`` (every fourth a clip), whose
    pictures have ``side`` pixels. ConfigError for data that training must not see."""
    excluded = read_excluded(Path(exclude)) if exclude else frozenset[int]()
    return [open_set(name, side, excluded, training) for name in names]


def open_set(
    name: str, side: int, excluded: frozenset[int] = frozenset(), training: bool = True
) -> Reader:
    """The reader of one name; ``excluded`` are COCO image ids."""
    form, *numbers = name.split(":")
    if form != FORM or Path(name).exists():
        return open_reader(Path(name), excluded=excluded, training=training)
    if len(numbers) > 2 or not all(number.isdigit() for number in numbers):
        raise ConfigError(f"data '{name}'; write {FORM}, {FORM}:SEED or {FORM}:SEED:COUNT")
    seed, count = (*map(int, numbers), *(0, _COUNT)[len(numbers) :])
    source = SyntheticSource(
        count=count, seed=seed, size_hw=(side, side), clip_every=4, training=training
    )
    return Synthetic(source)
