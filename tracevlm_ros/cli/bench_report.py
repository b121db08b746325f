"""What the benchmark commands share: arguments, machine facts, progress and tables."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from engine.runtime import load_engine
from tracevlm_ros.cli.evaluate import pipeline_config
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import ConfigError

DATA = Path(os.environ.get("TRACEVLM_DATA", "../shared/data"))


def add_common_arguments(parser: argparse.ArgumentParser, folder: str | None = None) -> None:
    """``--model``, ``--config``, ``--json`` and ``--out``; ``--data`` where it reads a folder."""
    parser.add_argument("--model", default="nano", help="nano, fake or a model directory")
    parser.add_argument("--config", type=Path, help="settings of the pipeline (YAML)")
    if folder is not None:
        parser.add_argument(
            "--data",
            type=Path,
            default=DATA / folder,
            help="default: %(default)s (TRACEVLM_DATA names the parent)",
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write that object into this file as well")


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[tuple[Engine, PipelineConfig]]:
    """The engine, closed in the end, and the settings. OpenCV gets one thread, as on a robot."""
    cv2.setNumThreads(1)
    config = pipeline_config(arguments.config)
    engine = load_engine(arguments.model)
    try:
        yield engine, config
    finally:
        engine.close()


def subset(items: list[Any], limit: int | None) -> list[Any]:
    """At most ``limit`` items, spread evenly. Raises ConfigError unless it is positive."""
    if limit is None or limit >= len(items):
        return items
    if limit < 1:
        raise ConfigError(f"--limit is {limit}; it must be at least 1")
    return [items[index * len(items) // limit] for index in range(limit)]


def about_run(engine: Engine, started_s: float) -> dict[str, Any]:
    """Model and machine, for every result."""
    return {
        "model": engine.info.model_id,
        "backend": engine.info.backend,
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "wall_s": round(time.perf_counter() - started_s, 1),
    }


def counter(total: int) -> Callable[[int], None]:
    """One line on a terminal, nothing in a pipe."""

    def show(done: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{done} of {total}", end=end, file=sys.stderr, flush=True)

    return show


def give(arguments: argparse.Namespace, result: Mapping[str, Any], lines: Iterable[str]) -> int:
    """Print and store a result; always status 0."""
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print("\n".join(lines))
    return 0


def masks_table(methods: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line a method: mean IoU, cIoU, P@0.5."""
    yield f"{'method':<28} {'count':>6} {'mean IoU':>9} {'cIoU':>7} {'P@0.5':>7}"
    for name, row in methods.items():
        if row["count"]:
            yield (
                f"{name:<28} {row['count']:>6} {row['iou_mean']:>9.3f} {row['ciou']:>7.3f} "
                f"{row['precision_50']:>7.3f}"
            )
