"""Video Localized Narratives: real traces and words; captions beside trivial speakers."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.bench_report import (
    about_run,
    add_common_arguments,
    counter,
    give,
    opened,
    subset,
)
from tracevlm_ros.evaluation.adapters.narratives import read_drawn_pictures
from tracevlm_ros.evaluation.benchmarks.vidln import benchmark_vidln


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "vidln_dev")
    parser.add_argument(
        "--narratives", type=Path, help="JSON lines, default DATA/ln_keyframes.jsonl"
    )
    parser.add_argument("--images", type=Path, help="folder of pictures, default DATA/frames")
    parser.add_argument(
        "--words",
        action="store_true",
        help="let the reference's word times weigh the trace (paper mode)",
    )
    parser.add_argument("--limit", type=int, help="only so many narratives, spread evenly")


def run(arguments: argparse.Namespace) -> int:
    narratives = arguments.narratives or arguments.data / "ln_keyframes.jsonl"
    images = arguments.images or arguments.data / "frames"
    items = subset(read_drawn_pictures(narratives, images), arguments.limit)
    started_s, show = time.perf_counter(), counter(len(items))
    with opened(arguments) as (engine, config):
        found = benchmark_vidln(items, engine, config, words=arguments.words, progress=show)
        result = {**about_run(engine, started_s), **found}
    return give(arguments, result, _lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['model']} on {result['backend']}, {result['narratives']} narratives"
    names = {f"bleu_{n}": f"BLEU-{n}" for n in (1, 2, 3, 4)}
    names |= {"rouge_l": "ROUGE-L", "cider_d": "CIDEr-D"}
    yield f"{'speaker':<28} " + " ".join(f"{name:>7}" for name in names.values())
    for name, row in result["captions"].items():
        yield f"{name:<28} " + " ".join(f"{row[key]:>7.3f}" for key in names)
    traces = result["trace_prediction"]
    drawn = f"{traces.get('drawn')} of {result['narratives']} captions drawn"
    yield f"trace prediction: {traces.get('reason', drawn)}"
    for key in ("lbm_k0", "lbm_k1"):
        if key in traces:
            each = ", ".join(f"{name} {value:.3f}" for name, value in traces[key].items())
            yield f"{key}: {each}"
