"""Opening the data that a command line names."""

import argparse
from pathlib import Path

from tracevlm_ros.core.errors import ConfigError
from training.data.readers.catalogue import READERS, open_reader
from training.data.readers.source import Reader
from training.data.readers.splits import read_excluded
from training.data.readers.synthetic import FORM, Synthetic, SyntheticSource


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """How PATH is read."""
    parser.add_argument("--images", type=Path, help="folder of the pictures, if not found")
    parser.add_argument("--form", choices=tuple(READERS), help="form of the data, if not seen")
    parser.add_argument("--split", default="", help="split of the data, if its name does not say")
    parser.add_argument("--exclude", type=Path, help="list of COCO image ids to leave out")
    parser.add_argument(
        "--training", action="store_true", help="refuse whatever training must not see"
    )


def open_named(path: str, arguments: argparse.Namespace) -> Reader:
    """The reader of ``path``: a file, a folder, or ``synthetic`` or ``synthetic:SEED``."""
    name, _, seed = path.partition(":")
    if name == FORM and not Path(path).exists():
        if seed and not seed.isdigit():
            raise ConfigError(f"'{path}': the seed must be a whole number, as {FORM}:7")
        source = SyntheticSource(
            count=200, seed=int(seed or 0), clip_every=4, training=arguments.training
        )
        return Synthetic(source)
    excluded = frozenset[int]() if arguments.exclude is None else read_excluded(arguments.exclude)
    return open_reader(
        Path(path),
        images=arguments.images,
        split=arguments.split,
        training=arguments.training,
        excluded=excluded,
        form=arguments.form or "",
    )
