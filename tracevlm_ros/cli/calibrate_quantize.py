"""Pick representative frames and traces from bags, for a quantiser to measure ranges on.

They are chosen by coverage of what the bags show and how people trace on it, written once, and
never changed: a quantised engine names the set that it was made with.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from calibration.quantisation_set import write_set
from calibration.representative import Candidate, CandidatePool, choose, features_of
from engine.runtime import load_engine
from engine.runtime.loading import model_directory
from engine.runtime.manifest import read_manifest
from tracevlm_ros.cli.calibration_input import require_new
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import ConfigError, InputError, TraceVLMError
from tracevlm_ros.core.live_trace import prompt_of
from tracevlm_ros.core.pipeline import Pipeline, StepResult
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.recording import BagTopics, bag_samples, find_bags
from tracevlm_ros.ingest.bag import BagReader

_NS_PER_MS = 1_000_000


class _Size(NamedTuple):
    """What the model reads."""

    image_hw: tuple[int, int]
    max_keypoints: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="bag or folder of bags")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    parser.add_argument("--count", type=int, default=256, help="samples to pick")
    parser.add_argument("--every-ms", type=float, default=500.0,
                        help="a candidate at most this often")  # fmt: skip
    parser.add_argument("--model", default="nano", help="nano or a model directory: tells sizes")
    parser.add_argument("--image-size", metavar="HxW", help="instead of the model's")
    parser.add_argument("--max-keypoints", type=int, default=64, help="with --image-size")
    parser.add_argument("--image-topic", help="default: the only image topic")
    parser.add_argument("--gaze-topic", help="default: the only gaze topic")
    parser.add_argument("--point-is-normalised", action="store_true",
                        help="a PointStamped is 0..1 of the image, not pixels")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Bags that cannot be read are named and left out; status 1 when none gave a sample."""
    require_new(arguments.output)
    require_range("--count", arguments.count, 1, 100_000)
    require_range("--every-ms", arguments.every_ms, 0, 3_600_000)
    size = _size(arguments)
    pool = CandidatePool(max(1000, 4 * arguments.count))
    engine = load_engine("fake")
    unread = [
        str(path)
        for path in find_bags(arguments.bags)
        if not _collect(path, pool, engine, size, arguments)
    ]
    if not pool.candidates:
        raise InputError("no bag gave a frame with a trace on it; check the gaze topic")
    choice = choose(features_of(pool.candidates), arguments.count)
    chosen = [pool.candidates[index] for index in choice.indices]
    selection = {
        "method": "greedy k-centre on picture and trace features",
        "candidates": pool.seen,
        "radius": choice.radius,
        "every_ms": arguments.every_ms,
        "not_read_to_the_end": unread,
    }
    write_set(arguments.output, chosen, size.max_keypoints, selection)
    _tell(arguments, len(chosen), pool.seen, choice.radius)
    return 0


def _collect(
    path: Path, pool: CandidatePool, engine: Engine, size: _Size, arguments: argparse.Namespace
) -> bool:
    """False when the bag could not be read to its end; what came before stays."""
    try:
        for candidate in _candidates(path, engine, size, arguments):
            pool.add(candidate)
    except TraceVLMError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return False
    return True


def _size(arguments: argparse.Namespace) -> _Size:
    if arguments.image_size is None:
        sizes = read_manifest(model_directory(arguments.model)).sizes
        return _Size((sizes["H"], sizes["W"]), sizes["K"])
    sides = arguments.image_size.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ConfigError(f"--image-size is {arguments.image_size!r}; it takes HxW, e.g. 224x224")
    require_range("--max-keypoints", arguments.max_keypoints, 1, 4096)
    return _Size((int(sides[0]), int(sides[1])), arguments.max_keypoints)


def _candidates(
    path: Path, engine: Engine, size: _Size, arguments: argparse.Namespace
) -> Iterator[Candidate]:
    """The newest trace on a frame, at most every ``--every-ms``, as the live pipeline makes them.

    The fake engine stands in for the model: nothing that is kept depends on it.
    """
    topics = BagTopics(
        image=arguments.image_topic,
        gaze=arguments.gaze_topic,
        point_is_normalised=arguments.point_is_normalised,
    )
    pipeline = Pipeline(PipelineConfig(), engine)
    taken_ns: int | None = None
    with BagReader(path) as bag:
        for step in _steps(pipeline, bag, topics):
            stamp_ns = step.frame.stamp_ns
            pause_ns = arguments.every_ms * _NS_PER_MS
            is_soon = taken_ns is not None and 0 <= stamp_ns - taken_ns < pause_ns
            if step.traces and not is_soon:
                taken_ns = stamp_ns
                yield _candidate(step, size, path.name)


def _steps(pipeline: Pipeline, bag: BagReader, topics: BagTopics) -> Iterator[StepResult]:
    for sample in bag_samples(bag, topics, pipeline.drops):
        if isinstance(sample, Frame):
            pipeline.add_frame(sample)
        elif isinstance(sample, GazeSample):
            pipeline.add_gaze(sample)
        while (step := pipeline.step()) is not None:
            yield step
    pipeline.flush()
    while (step := pipeline.step()) is not None:
        yield step


def _candidate(step: StepResult, size: _Size, source: str) -> Candidate:
    frame, trace = step.frame, step.traces[-1]
    height, width = frame.image_rgb.shape[:2]
    return Candidate(
        image_rgb=fit_image(frame.image_rgb, size.image_hw),
        prompt=prompt_of(trace.keypoints, (height, width), size.max_keypoints),
        source=source,
        stamp_ns=frame.stamp_ns,
        trace_id=trace.trace_id,
    )


def _tell(arguments: argparse.Namespace, count: int, seen: int, radius: float) -> None:
    if arguments.json:
        print(json.dumps({"count": count, "candidates": seen, "radius": radius}))
        return
    print(f"picked     {count} of {seen} candidates")
    if count < arguments.count:
        print(f"warning    fewer than the {arguments.count} asked for: give more recordings")
    print(f"radius     {radius:.3f} (distance of the worst covered candidate)")
    print(f"written    {arguments.output}")
