"""The mask memory with and without each of its parts, on real, drawn and cut-out clips.

J and F after the rules of DAVIS: every frame but the first and the last, mean over frames, then
over clips.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.bench_report import (
    DATA,
    about_run,
    add_common_arguments,
    counter,
    give,
    opened,
)
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.evaluation.adapters.davis import read_davis
from tracevlm_ros.evaluation.benchmarks.clip_sets import (
    ClipToFollow,
    cutout_clips,
    of_davis,
    synthetic_clips,
)
from tracevlm_ros.evaluation.benchmarks.memory_parts import PARTS, compare_parts

SETS = ("davis", "synthetic", "cutouts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "davis_dev")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--parts", nargs="*", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument(
        "--photos", type=Path, default=DATA / "instances_train", help="photos of the cut-outs"
    )
    parser.add_argument("--clips", type=int, default=8, help="drawn and cut-out ones, each")


def run(arguments: argparse.Namespace) -> int:
    if arguments.clips < 1:
        raise ConfigError(f"--clips is {arguments.clips}; it must be at least 1")
    started_s = time.perf_counter()
    with opened(arguments) as (engine, config):
        found = {}
        for name in arguments.sets:
            clips, total = _clips(name, arguments)
            rows = compare_parts(clips, engine, config, arguments.parts, counter(total))
            found[name] = {row.part: row.figures for row in rows}
        result = {**about_run(engine, started_s), "sets": found}
    return give(arguments, result, _lines(result))


def _clips(name: str, arguments: argparse.Namespace) -> tuple[Iterator[ClipToFollow], int]:
    if name == "davis":
        clips = read_davis(arguments.data)
        return map(of_davis, clips), len(clips)
    if name == "synthetic":
        return synthetic_clips(arguments.clips), arguments.clips
    return cutout_clips(arguments.photos, arguments.clips), arguments.clips


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['model']} on {result['backend']}"
    sets = result["sets"]
    yield " ".join([f"{'J / F':<20}", *(f"{name:>13}" for name in sets)])
    for part in next(iter(sets.values()), {}):
        cells = (f"{by[part]['j_mean']:.3f} / {by[part]['f_mean']:.3f}" for by in sets.values())
        yield " ".join([f"{part:<20}", *(f"{cell:>13}" for cell in cells)])
