"""DAVIS: a stroke on the first frame, masks through the clip, beside peers in the same run.

The clip stands still while the stroke is drawn. The time of a frame is that of the whole pipeline:
tracking, preprocessing, encoder, TVP, mask; reading the files is not in it.
"""

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
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.evaluation.adapters.davis import read_davis
from tracevlm_ros.evaluation.benchmarks.davis import PEERS, benchmark_clip
from tracevlm_ros.evaluation.benchmarks.scores import (
    MODEL,
    PUBLISHED_J,
    MethodOnClip,
    j_above_peers,
    summarize_clips,
)

GOALS = {"j_mean": 0.616, "j_above_peers": 0.10, "frames_per_s": 25.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser, "davis_dev")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument(
        "--peer-every",
        type=int,
        default=5,
        metavar="N",
        help="GrabCut and hull on every Nth frame, default %(default)s",
    )
    parser.add_argument("--limit", type=int, help="only so many clips, spread evenly")


def run(arguments: argparse.Namespace) -> int:
    if arguments.peer_every < 1:
        raise ConfigError(f"--peer-every is {arguments.peer_every}; it must be at least 1")
    clips = subset(read_davis(arguments.data), arguments.limit)
    started_s, show = time.perf_counter(), counter(len(clips))
    rows: list[MethodOnClip] = []
    with opened(arguments) as (engine, config):
        for done, clip in enumerate(clips, start=1):
            rows += benchmark_clip(clip, engine, config, arguments.peers, arguments.peer_every)
            show(done)
        about = about_run(engine, started_s)
    methods = summarize_clips(rows)
    ours = methods[MODEL]
    above = j_above_peers(rows)
    result = {
        **about,
        "methods": methods,
        "frames_per_s": 1e3 / ours["ms_per_frame"],
        "j_above_best_peer": min(above.values(), default=None),
        "j_above_peers": above,
        "published_j": PUBLISHED_J,
        "goals": GOALS,
        "peer_every": arguments.peer_every,
    }
    return give(arguments, result, _lines(result))


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['model']} on {result['backend']}, load average {result['load_average']}"
    yield f"{'method':<12} {'J':>6} {'F':>6} {'J&F':>6} {'ms/frame':>9}  J over time (tenths)"
    for name, row in result["methods"].items():
        curve = " ".join("  - " if j is None else f"{j:.2f}" for j in row["j_over_time"])
        yield (
            f"{name:<12} {row['j_mean']:>6.3f} {row['f_mean']:>6.3f} {row['j_and_f']:>6.3f} "
            f"{row['ms_per_frame']:>9.1f}  {curve}"
        )
    for name, gain in result["j_above_peers"].items():
        yield f"J above {name}, on the frames that both scored: {gain:+.3f}"
    for name, j in result["published_j"].items():
        yield f"{name}: J {j} (published, not run here)"
    clips = result["methods"][MODEL]["j_by_clip"].items()
    yield "J by clip: " + ", ".join(f"{name} {j:.2f}" for name, j in clips)
    yield f"{result['frames_per_s']:.1f} frames/s"
