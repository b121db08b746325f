"""Cost of exact incremental simplification, beside running a batch library again per sample.

Every sample is appended and the keypoints are asked at once, at the end of an open segment. Shares
of a core are CPU time of this thread; percentiles are wall time of one query. The traces are
generated (a pointer that outlines and hatches, and gaze with fixations and saccades); --data adds
recordings. Repeat on a quiet machine before you believe a difference of less than a third.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.cli.bench_traces import gaze_trace, pointer_trace, recorded_trace
from tracevlm_ros.cli.goals import Goals, goal_lines, judged
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.simplify import IncrementalSimplifier, has_numba, simplify, warm_up
from tracevlm_ros.core.types import FloatArray

RATE_HZ = 240.0
NUMPY_RATE_HZ = 30.0
POINTS = 10_000
SCALING = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
MIN_SCALING = 16
GOALS: Goals = {
    "numba_core_percent_at_240_hz": ("at most", 0.5),
    "query_p99_us": ("at most", 150.0),
    "times_cheaper_than_fastrdp": ("at least", 10.0),
    "numpy_core_percent_at_30_hz": ("at most", 1.0),
}
"""At ``POINTS``; of all traces and metrics the worst figure counts."""

Batch = Callable[[FloatArray, float], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print machine-readable results")
    parser.add_argument("--points", type=int, default=POINTS, help="length of the open segment")
    parser.add_argument("--samples", type=int, default=1_500, help="samples timed at its end")
    parser.add_argument("--tolerance", type=float, default=5.0, help="pixels")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="recordings to add")
    parser.add_argument("--scaling", type=int, nargs="+", default=SCALING, metavar="POINTS",
                        help="lengths of the scaling table, each at least 16")  # fmt: skip
    parser.add_argument("--no-scaling", action="store_true", help="leave out the scaling table")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 whatever the figures are."""
    points, samples = arguments.points, arguments.samples
    if not 8 <= samples < points:
        raise ConfigError(f"--samples is {samples}; it must be from 8 to below --points={points}")
    if min(arguments.scaling) < MIN_SCALING:
        raise ConfigError(f"--scaling has {min(arguments.scaling)}; it takes {MIN_SCALING} and up")
    began = time.perf_counter()
    compiled = warm_up()
    results: dict[str, Any] = {
        "points": points,
        "samples": samples,
        "tolerance_px": arguments.tolerance,
        "numba": compiled,
        "warm_up_s": round(time.perf_counter() - began, 3),
        "fastrdp": _fastrdp() is not None,
        "traces": _measure_traces(arguments, compiled),
    }
    results["goals"] = judged(GOALS, _worst(results["traces"]))
    if not arguments.no_scaling:
        results["scaling"] = [
            _scaling_row(n, arguments.tolerance, compiled) for n in arguments.scaling
        ]
    print(json.dumps(results, indent=2) if arguments.json else _as_text(results))
    return 0


def _measure_traces(arguments: argparse.Namespace, compiled: bool) -> list[dict[str, Any]]:
    traces = {
        "pointer, generated": pointer_trace(arguments.points),
        "gaze, generated": gaze_trace(arguments.points),
        **{str(path.name): recorded_trace(path, arguments.points) for path in arguments.data},
    }
    return [
        {"trace": name, "metric": metric, **_measure(trace, metric, arguments, compiled)}
        for name, trace in traces.items()
        for metric in ("segment", "line")
    ]


def _worst(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that have a goal; those that could not be measured are left out."""
    found = {
        "numba_core_percent_at_240_hz": [
            row["numba"]["core_percent_at_240_hz"] for row in rows if "numba" in row
        ],
        "query_p99_us": [row["numba"]["query_p99_us"] for row in rows if "numba" in row],
        "times_cheaper_than_fastrdp": [
            row["times_cheaper_than_fastrdp"] for row in rows if "times_cheaper_than_fastrdp" in row
        ],
        "numpy_core_percent_at_30_hz": [row["numpy"]["core_percent_at_30_hz"] for row in rows],
    }
    worst = {"at most": max, "at least": min}
    return {name: worst[GOALS[name][0]](values) for name, values in found.items() if values}


def _measure(
    trace: FloatArray, metric: str, arguments: argparse.Namespace, compiled: bool
) -> dict[str, Any]:
    """All figures of one trace under one metric."""
    samples, tolerance = arguments.samples, arguments.tolerance
    row: dict[str, Any] = {"keypoints": len(simplify(trace, tolerance, metric))}
    if compiled:
        row["numba"] = _time_growth(trace, samples, tolerance, metric, "numba", 1)
        row["numba"]["core_percent_at_240_hz"] = _percent(row["numba"]["cpu_us"], RATE_HZ)
    each = round(RATE_HZ / NUMPY_RATE_HZ)
    row["numpy"] = _time_growth(trace, samples, tolerance, metric, "numpy", each)
    row["numpy"]["core_percent_at_30_hz"] = _percent(row["numpy"]["cpu_us"], NUMPY_RATE_HZ)
    own = lambda points, eps: simplify(points, eps, metric)  # noqa: E731
    row["own_batch"] = _time_batch(trace, samples, tolerance, own)
    fastrdp = _fastrdp()
    if fastrdp is not None:
        row["fastrdp"] = _time_batch(trace, samples, tolerance, fastrdp)
        if compiled:
            row["times_cheaper_than_fastrdp"] = round(
                row["fastrdp"]["cpu_us_median"] / row["numba"]["cpu_us"], 1
            )
    return row


def _time_growth(
    trace: FloatArray, samples: int, tolerance: float, metric: str, backend: str, each: int
) -> dict[str, float]:
    """Append the last ``samples`` points, asking for keypoints after every ``each``-th.

    ``cpu_us`` is the median over ten stretches of the mean CPU time of one query with its appends.
    """
    simplifier = IncrementalSimplifier(metric, max_points=len(trace) + 1, backend=backend)
    simplifier.extend(trace[:-samples])
    simplifier.keypoints(tolerance)
    wall_us, cpu_us = [], []
    for stretch in np.array_split(trace[-samples:], min(10, samples // each)):
        points = [tuple(point) for point in stretch.tolist()]
        queries, cpu = 0, time.thread_time_ns()
        for number, (x, y) in enumerate(points, 1):
            simplifier.append(x, y)
            if number % each == 0:
                start = time.perf_counter_ns()
                simplifier.keypoints(tolerance)
                wall_us.append((time.perf_counter_ns() - start) / 1e3)
                queries += 1
        cpu_us.append((time.thread_time_ns() - cpu) / 1e3 / max(queries, 1))
    return {
        "cpu_us": round(statistics.median(cpu_us), 2),
        "cpu_us_mean": round(statistics.fmean(cpu_us), 2),
        "query_p50_us": round(float(np.percentile(wall_us, 50)), 2),
        "query_p99_us": round(float(np.percentile(wall_us, 99)), 2),
        "query_max_us": round(max(wall_us), 2),
    }


def _time_batch(
    trace: FloatArray, samples: int, tolerance: float, batch: Batch
) -> dict[str, float]:
    """CPU time of simplifying all over again, on some 40 of the same prefixes."""
    costs = []
    for count in range(len(trace) - samples, len(trace), max(1, samples // 40)):
        prefix = np.ascontiguousarray(trace[:count])
        start = time.thread_time_ns()
        batch(prefix, tolerance)
        costs.append((time.thread_time_ns() - start) / 1e3)
    return {
        "cpu_us_median": round(statistics.median(costs), 2),
        "cpu_us_mean": round(statistics.fmean(costs), 2),
    }


def _scaling_row(points: int, tolerance: float, compiled: bool) -> dict[str, Any]:
    """Cost per sample of a pointer trace that has grown to ``points``, segment metric."""
    trace = pointer_trace(points)
    samples = min(400, points // 2)
    row: dict[str, Any] = {"points": points, "keypoints": len(simplify(trace, tolerance))}
    if compiled:
        row["numba_us"] = _time_growth(trace, samples, tolerance, "segment", "numba", 1)["cpu_us"]
    row["numpy_us"] = _time_growth(trace, samples, tolerance, "segment", "numpy", 8)["cpu_us"]
    fastrdp = _fastrdp()
    if fastrdp is not None:
        row["fastrdp_us"] = _time_batch(trace, samples, tolerance, fastrdp)["cpu_us_median"]
    return row


def _fastrdp() -> Batch | None:
    try:
        from fastrdp import rdp_index
    except ImportError:
        return None
    batch: Batch = rdp_index
    return batch


def _percent(microseconds: float, rate_hz: float) -> float:
    return round(microseconds * rate_hz / 1e4, 3)


def _as_text(results: dict[str, Any]) -> str:
    lines = [
        f"open segment of {results['points']} points, tolerance {results['tolerance_px']:g} px; "
        f"kernels warm after {results['warm_up_s']} s"
    ]
    if not has_numba():
        lines.append("numba is not installed (extra [fast]): its figures are left out")
    if not results["fastrdp"]:
        lines.append("fastrdp is not installed (pip install fastrdp): no comparison with it")
    lines.append(
        f"{'trace':<24}{'metric':<9}{'kept':>6}{'us/sample':>11}{'% at 240 Hz':>12}{'p99 us':>8}"
        f"{'fastrdp us':>12}{'cheaper':>9}{'numpy us':>10}{'% at 30 Hz':>11}"
    )
    for row in results["traces"]:
        numba = row.get("numba", {})
        lines.append(
            f"{row['trace']:<24.23}{row['metric']:<9}{row['keypoints']:>6}"
            f"{numba.get('cpu_us', '-'):>11}{numba.get('core_percent_at_240_hz', '-'):>12}"
            f"{numba.get('query_p99_us', '-'):>8}"
            f"{row.get('fastrdp', {}).get('cpu_us_median', '-'):>12}"
            f"{row.get('times_cheaper_than_fastrdp', '-'):>9}"
            f"{row['numpy']['cpu_us']:>10}{row['numpy']['core_percent_at_30_hz']:>11}"
        )
    lines += ["", f"goals, for {POINTS} points, and the worst of these traces"]
    lines += [f"  {line}" for line in goal_lines(results["goals"])]
    lines += ["", f"{'points':>8}{'kept':>7}{'numba us':>10}{'numpy us':>10}{'fastrdp us':>12}"]
    lines += [
        f"{row['points']:>8}{row['keypoints']:>7}{row.get('numba_us', '-'):>10}"
        f"{row['numpy_us']:>10}{row.get('fastrdp_us', '-'):>12}"
        for row in results.get("scaling", [])
    ]
    return "\n".join(lines)
