"""Held-out synthetic scenes: attributes said, masks beside GrabCut and the hull."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from tracevlm_ros.cli.bench_report import (
    about_run,
    add_common_arguments,
    give,
    masks_table,
    opened,
)
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.evaluation.benchmarks.synthetic import benchmark_synthetic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)
    parser.add_argument("--scenes", type=int, default=60, help="default %(default)s")


def run(arguments: argparse.Namespace) -> int:
    if arguments.scenes < 1:
        raise ConfigError(f"--scenes is {arguments.scenes}; it must be at least 1")
    started_s = time.perf_counter()
    with opened(arguments) as (engine, config):
        found = benchmark_synthetic(arguments.scenes, engine, config)
        result = {**about_run(engine, started_s), **found}
    return give(arguments, result, _lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['model']} on {result['backend']}, {result['looks']} looks"
    yield ", ".join(f"{name} {share:.3f}" for name, share in result["attributes"].items())
    yield f"not in the grammar: {result['not_in_grammar']:.3f}"
    yield from masks_table(result["methods"])
