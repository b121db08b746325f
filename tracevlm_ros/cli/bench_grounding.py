"""Panoptic Narrative Grounding: noun phrases to masks, by a model that has learned to locate."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from tracevlm_ros.cli.bench_report import (
    about_run,
    add_common_arguments,
    counter,
    give,
    opened,
    subset,
)
from tracevlm_ros.evaluation.adapters.panoptic_narratives import SPLIT, read_grounded_narratives
from tracevlm_ros.evaluation.benchmarks.grounding import benchmark_grounding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "panoptic_narrative_grounding")
    parser.add_argument("--split", default=SPLIT, help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="only so many narratives, spread evenly")


def run(arguments: argparse.Namespace) -> int:
    narratives = subset(read_grounded_narratives(arguments.data, arguments.split), arguments.limit)
    started_s, show = time.perf_counter(), counter(len(narratives))
    with opened(arguments) as (engine, _):
        found = benchmark_grounding(narratives, engine, show)
        result = {**about_run(engine, started_s), **found}
    return give(arguments, result, _lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{result['model']} on {result['backend']}, {result['narratives']} narratives: "
        f"{result['found']} of {result['phrases']} phrases found"
    )
    yield f"{'group':<12} {'phrases':>8} {'average recall':>15} {'at IoU 0.5':>11}"
    for name, row in result["groups"].items():
        half = row["recall_over_iou"][len(row["recall_over_iou"]) // 2]
        yield f"{name:<12} {row['phrases']:>8} {row['average_recall']:>15.3f} {half:>11.3f}"
