"""``tracevlm evaluate FOLDER --ray ADDRESS``: many bags on many workers, resumable."""

import argparse
import sys
from functools import partial

from engine.runtime import load_engine
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.evaluate import EvaluationConfig, RecordingResult
from tracevlm_ros.evaluation.scale.jobs import make_plan, result_path
from tracevlm_ros.evaluation.scale.ray_workers import run_on_ray
from tracevlm_ros.evaluation.scale.result_files import merge_results, read_results


def evaluate_at_scale(
    arguments: argparse.Namespace, config: EvaluationConfig
) -> list[RecordingResult]:
    """Do what is left of the run in OUT, then give the results of all its recordings.

    ``OUT/results.parquet`` is all result files in one. Raises InputError when no recording gave a
    result.
    """
    out = arguments.report
    plan = make_plan(arguments.bags, out, config, str(arguments.model))
    print(f"{len(plan.done)} of {len(plan.jobs)} recordings are done", file=sys.stderr)
    load = partial(load_engine, arguments.model)
    if plan.left:
        done = run_on_ray(plan.left, load, config, out, arguments.ray, arguments.workers)
        for count, outcome in enumerate(done, start=len(plan.done) + 1):
            told = outcome.error or f"{outcome.frames} frames in {outcome.wall_s:.1f} s"
            print(f"{count} of {len(plan.jobs)}  {outcome.name}: {told}", file=sys.stderr)
    paths = [path for job in plan.jobs if (path := result_path(out, job)).is_file()]
    if not paths:
        raise InputError(f"no recording of {len(plan.jobs)} gave a result; see the lines above")
    merge_results(paths, out / "results.parquet")
    return list(read_results(paths))
