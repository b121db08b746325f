"""Show a bag or a running graph in Rerun: video, gaze, traces, keypoints, masks, captions and the
attention map.

With --recorded, BAG is what was played and OUTPUT_BAG what was recorded of the graph meanwhile.
Without it, a BAG that holds results shows its own; any other is run through the model offline, as
'tracevlm evaluate' does. --live shows what the nodes of a namespace receive and publish, until
Ctrl-C. Needs the extra [view] (rerun-sdk).
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.runtime import load_engine
from tracevlm_ros.cli.rerun_log import RerunLog, layout, load_rerun
from tracevlm_ros.cli.ros_names import namespace
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import GazeSample, Image
from tracevlm_ros.evaluation.outcome import CaptionBoard, FrameOutcome, shown_trace_ids
from tracevlm_ros.evaluation.predictions import CAPTIONS_TOPIC, MASKS_TOPIC
from tracevlm_ros.evaluation.recorded import recorded_outcomes
from tracevlm_ros.evaluation.recording import BagTopics, bag_samples
from tracevlm_ros.evaluation.replay import replay
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_messages import to_frame, to_gaze_sample
from tracevlm_ros.ingest.topics import TopicKind

ATTENTION_TOPIC = "/tracevlm/attention"
_SHOW_EVERY = 30


class Shown(NamedTuple):
    """What was logged: frames, and drops by reason."""

    frames: int
    drops: Drops


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", nargs="?", help="bag with video and gaze")
    parser.add_argument("--live", action="store_true", help="a running graph instead of a bag")
    parser.add_argument("--namespace", type=namespace, default="tracevlm",
                        help="of the running graph")  # fmt: skip
    parser.add_argument("--domain", type=int, help="its DDS domain (default: ROS_DOMAIN_ID)")
    parser.add_argument("--duration", type=float, default=float("inf"),
                        help="seconds to show it (default: until Ctrl-C)")  # fmt: skip
    parser.add_argument("--recorded", type=Path, metavar="OUTPUT_BAG",
                        help="recording of a graph that played BAG")  # fmt: skip
    parser.add_argument("--model", default="nano",
                        help="nano, fake or a directory, where nothing is recorded")  # fmt: skip
    parser.add_argument("--save", type=Path, metavar="FILE.rrd",
                        help="write this file (anew) instead of opening the viewer")  # fmt: skip
    parser.add_argument("--image-topic", help="default: the only image topic")
    parser.add_argument("--gaze-topic", help="default: the only gaze topic")
    parser.add_argument("--point-is-normalised", action="store_true",
                        help="a PointStamped is 0..1 of the image, not pixels")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Log the bag or the graph; tell how many frames, and what was dropped."""
    if arguments.live == (arguments.bag is not None):
        raise ConfigError("give either a BAG or --live")
    shown = _show_live(arguments) if arguments.live else _show_bag(arguments)
    for reason, count in sorted(shown.drops.items()):
        if count:
            print(f"{reason}: {count}", file=sys.stderr)
    place = "in the viewer" if arguments.save is None else f"in {arguments.save}"
    print(f"{shown.frames} frames {place}")
    return 0


def _show_live(arguments: argparse.Namespace) -> Shown:
    rerun = load_rerun()
    try:
        from tracevlm_ros.cli.view_live import show_live
    except ModuleNotFoundError as error:
        raise InputError(
            f"--live needs the Python package '{error.name}'; source a ROS 2 installation, or "
            "install the ROS 2 wheels (see README)"
        ) from error
    with _opened_log(rerun, arguments.namespace, arguments.save) as log:
        scene = show_live(
            log,
            arguments.namespace,
            point_is_normalised=arguments.point_is_normalised,
            duration_s=arguments.duration,
            domain_id=arguments.domain,
        )
    return Shown(scene.frames, scene.drops)


def _show_bag(arguments: argparse.Namespace) -> Shown:
    rerun = load_rerun()
    topics = BagTopics(
        image=arguments.image_topic,
        gaze=arguments.gaze_topic,
        point_is_normalised=arguments.point_is_normalised,
    )
    with BagReader(arguments.bag) as inputs:
        inputs.find(TopicKind.IMAGE, topics.image)
        inputs.find(TopicKind.GAZE, topics.gaze)
        with _opened_log(rerun, arguments.bag.name, arguments.save) as log:
            return _show(inputs, topics, arguments, log)


@contextlib.contextmanager
def _opened_log(rerun: Any, name: str, save: Path | None) -> Iterator[RerunLog]:
    log = RerunLog(rerun, open_stream(rerun, name, save))
    try:
        yield log
    finally:
        log.close()


def open_stream(rerun: Any, name: str, save: Path | None) -> Any:
    """A recording called ``name`` that goes to the file ``save``, else to a new viewer."""
    stream = rerun.RecordingStream("tracevlm")
    try:
        if save is not None:
            stream.save(save, default_blueprint=layout(rerun))
        else:
            stream.spawn(default_blueprint=layout(rerun))
    except (RuntimeError, OSError) as error:
        what = "the viewer cannot be started" if save is None else f"{save} cannot be written"
        remedy = "write a file with --save" if save is None else "name another file"
        raise InputError(f"{what}: {_first_line(error)}; {remedy}") from error
    stream.send_recording_name(name)
    return stream


def _first_line(error: Exception) -> str:
    """Rerun tells how to install it, and the whole PATH, in the lines that follow."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def _show(
    inputs: BagReader, topics: BagTopics, arguments: argparse.Namespace, log: RerunLog
) -> Shown:
    if arguments.recorded is not None:
        with BagReader(arguments.recorded) as outputs:
            return show_recorded(inputs, outputs, topics, log)
    if {topic.name for topic in inputs.topics} & {CAPTIONS_TOPIC, MASKS_TOPIC}:
        return show_recorded(inputs, inputs, topics, log)
    return show_replayed(inputs, topics, arguments.model, log)


def show_recorded(inputs: BagReader, outputs: BagReader, topics: BagTopics, log: RerunLog) -> Shown:
    """The frames of ``inputs`` with what ``outputs`` says of them."""
    drops = Drops()
    outcomes = ((one, None) for one in recorded_outcomes(inputs, outputs, topics, drops))
    shown = _log_all(inputs, topics, outcomes, log, drops)
    if ATTENTION_TOPIC in {topic.name for topic in outputs.topics}:
        for record in outputs.records({ATTENTION_TOPIC}):
            try:
                dwell = to_frame(record)
            except InputError:
                drops["attention_unreadable"] += 1
                continue
            log.add_attention(dwell.stamp_ns, dwell.image_rgb[..., 0])
    return shown


def show_replayed(inputs: BagReader, topics: BagTopics, model: str, log: RerunLog) -> Shown:
    """The frames of ``inputs`` with what ``model`` says of them, offline."""
    drops = Drops()
    engine = load_engine(model)
    try:
        pipeline = Pipeline(PipelineConfig(), engine)
        samples = bag_samples(inputs, topics, drops)
        outcomes = (
            (one, pipeline.attention.render(one.frame.image_rgb.shape[:2]))
            for one in replay(samples, pipeline, engine)
        )
        shown = _log_all(inputs, topics, outcomes, log, drops)
        drops.update(pipeline.drops)
        return shown
    finally:
        engine.close()


def _log_all(
    inputs: BagReader,
    topics: BagTopics,
    outcomes: Iterator[tuple[FrameOutcome, Image | None]],
    log: RerunLog,
    drops: Drops,
) -> Shown:
    board, frames = CaptionBoard(), 0
    size_hw = (0, 0)
    for outcome, dwell in outcomes:
        frame = outcome.frame
        size_hw = (frame.image_rgb.shape[0], frame.image_rgb.shape[1])
        board.add(outcome.captions)
        log.add_frame(outcome, board.texts_at(frame.stamp_ns, shown_trace_ids(outcome)))
        if dwell is not None:
            log.add_attention(frame.stamp_ns, dwell)
        frames += 1
        if frames % _SHOW_EVERY == 0 and sys.stderr.isatty():
            print(f"\r{frames} frames", end="", file=sys.stderr, flush=True)
    log.add_gaze(list(_gaze(inputs, topics, size_hw)))
    return Shown(frames, drops)


def _gaze(inputs: BagReader, topics: BagTopics, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Every sample that can be read; ``bag_samples`` has counted the others."""
    topic = inputs.find(TopicKind.GAZE, topics.gaze)
    for record in inputs.records({topic.name}):
        with contextlib.suppress(InputError, ValueError):
            yield to_gaze_sample(record, size_hw, topics.point_is_normalised)
