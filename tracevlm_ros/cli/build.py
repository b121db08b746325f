"""Compile every graph of a model directory with TensorRT, ahead of the first run.

Plans go to the plan cache of this user (TRACEVLM_PLAN_CACHE, else ~/.cache/tracevlm/plans) and are
reused until model, library, GPU or driver change. --level and --workspace-mib say how hard to try;
for plans that are there they need --rebuild. The first plan is tried on the GPU: where the library
does not run on it, the command ends at once with the reason and the remedy. Without a GPU,
tensorrt-rtx still shows that every graph compiles; those plans are not used on another machine.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from engine.runtime.building import PlanBuilder, Target, find_target
from engine.runtime.loading import model_directory
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_builder import BuildSettings
from engine.runtime.plan_cache import PlanCache
from engine.runtime.plan_opening import require_taken
from engine.runtime.plan_progress import BuildProgress
from engine.runtime.tensorrt_library import TensorRt, find_tensorrt

_BAR = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="'nano' or a model directory")
    parser.add_argument("--cache", type=Path, help="another plan cache")
    parser.add_argument("--rebuild", action="store_true", help="build also what is there")
    parser.add_argument("--level", type=int, default=3, help="optimisation level, 0 to 5")
    parser.add_argument("--workspace-mib", type=int, help="most scratch memory while building")
    parser.add_argument("--json", action="store_true", help="print machine-readable results")


def run(arguments: argparse.Namespace) -> int:
    """Build and print one line per graph; 0 when every graph has its plan.

    Raises BackendError after the first plan when the library does not take it on this GPU.
    """
    settings = BuildSettings(
        optimization_level=arguments.level,
        workspace_mib=arguments.workspace_mib,
    )
    library = find_tensorrt()
    manifest = read_manifest(model_directory(arguments.model))
    target, cache = find_target(), PlanCache(arguments.cache)
    builder = PlanBuilder(manifest, library, target.device, cache, settings)
    if not arguments.json:
        print(heading(library, target), flush=True)
    progress = ProgressLine(sys.stderr)
    rows: list[dict[str, Any]] = []
    for plan in builder.plans(progress.show, rebuild=arguments.rebuild):
        progress.clear()
        if not rows and not target.problem:
            require_taken(library, plan)
        row = {
            "graph": plan.graph,
            "seconds": round(plan.seconds, 2),
            "bytes": len(plan.content),
            "why": plan.why,
            "path": str(plan.path),
        }
        rows.append(row)
        if not arguments.json:
            print(as_line(row), flush=True)
    if arguments.json:
        about = {
            "model": manifest.model_id,
            "library": f"{library.name} {library.version}",
            "target": target._asdict() | {"device": target.device._asdict()},
            "plans": rows,
        }
        print(json.dumps(about, indent=2))
    return 0


def heading(library: TensorRt, target: Target) -> str:
    if target.problem:
        return (
            f"{library.name} {library.version}, only to see that the graphs compile: "
            f"{target.problem}"
        )
    device = target.device
    return (
        f"{library.name} {library.version} for {device.name} (compute capability "
        f"{device.compute_capability}, driver {device.driver})"
    )


def as_line(row: dict[str, Any]) -> str:
    mib = row["bytes"] / 2**20
    if not row["why"]:
        return f"{row['graph']:<8} {mib:7.1f} MiB, from the cache"
    return f"{row['graph']:<8} {mib:7.1f} MiB, built in {row['seconds']:.1f} s ({row['why']})"


class ProgressLine:
    """One line that is written over; nothing at all where ``stream`` is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._active = stream.isatty()

    def show(self, progress: BuildProgress) -> None:
        if not self._active:
            return
        full = int(progress.fraction * _BAR)
        line = (
            f"{progress.number}/{progress.total} {progress.graph:<8} "
            f"[{'#' * full}{'.' * (_BAR - full)}] {progress.phase[:36]}"
        )
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()

    def clear(self) -> None:
        if self._active:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
