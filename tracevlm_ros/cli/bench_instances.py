"""Photos: a stroke in, a mask and a name out, beside GrabCut and the hull in the same run."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from tracevlm_ros.cli.bench_report import (
    about_run,
    add_common_arguments,
    counter,
    give,
    masks_table,
    opened,
    subset,
)
from tracevlm_ros.evaluation.adapters.coco_instances import read_strokes_on_photos
from tracevlm_ros.evaluation.benchmarks.instances import benchmark_instances
from tracevlm_ros.evaluation.benchmarks.strokes import PEERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "instances_dev")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--limit", type=int, help="only so many strokes, spread evenly")


def run(arguments: argparse.Namespace) -> int:
    items = subset(read_strokes_on_photos(arguments.data), arguments.limit)
    started_s = time.perf_counter()
    with opened(arguments) as (engine, config):
        found = benchmark_instances(items, engine, config, arguments.peers, counter(len(items)))
        result = {**about_run(engine, started_s), **found}
    return give(arguments, result, _lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['model']} on {result['backend']}, load average {result['load_average']}"
    groups = {
        f"{method}, {group}": row
        for method, by in result["methods"].items()
        for group, row in by.items()
        if isinstance(row, dict)
    }
    yield from masks_table(groups)
    for method, by in result["methods"].items():
        yield f"{method}: {by['ms_per_stroke']:.1f} ms per stroke"
    yield f"category named: {result['named']:.3f}"
