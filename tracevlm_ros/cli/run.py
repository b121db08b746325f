"""Video and gaze in, captions and masks out, live: the ROS 2 graph without ROS's launch system.

Starts a source, gaze_caption and, with --record, a recorder as processes, prints captions as they
are finished, and ends with the source. Other ROS 2 nodes in the same domain can join.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.cli.live_graph import (
    GraphOptions,
    LiveGraph,
    keep_all,
    print_caption,
    print_log,
)
from tracevlm_ros.cli.ros_names import namespace
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.gaze_mapping import read_mapping
from tracevlm_ros.ingest.video import is_live


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", help="video file, camera (/dev/video0) or rtsp:// address")
    source.add_argument("--bag", type=Path, help="rosbag2 bag with images and gaze")
    parser.add_argument("--gaze", help="gaze table (.tsv, .csv) that belongs to --video")
    parser.add_argument("--gaze-calibration", type=Path, metavar="YAML",
                        help="maps gaze to the image (tracevlm calibrate gaze)")  # fmt: skip
    parser.add_argument("--gaze-offset-ms", type=float,
                        help="added to gaze stamps (tracevlm calibrate clock)")  # fmt: skip
    parser.add_argument("--model", default="nano", help="nano (default), fake or a model directory")
    parser.add_argument("--record", type=Path, help="write captions, masks and traces to a new bag")
    parser.add_argument("--namespace", type=namespace, default="tracevlm", help="of all topics")
    parser.add_argument("--params-file", type=Path, help="parameters of gaze_caption (YAML)")
    parser.add_argument("--rate", type=float, default=1.0, help="speed of a file or bag")
    parser.add_argument(
        "--keep-all", action="store_true", help="drop no frame, even if the engine falls behind"
    )
    parser.add_argument("--json", action="store_true", help="captions as JSON lines, partial too")
    parser.add_argument("--verbose", action="store_true", help="show what the nodes say")
    parser.add_argument(
        "--domain", type=int, help="DDS domain to join (default: one of its own, this machine only)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the graph until the source ends or Ctrl-C."""
    _require_gaze(arguments)
    with contextlib.ExitStack() as stack:
        domain = arguments.domain
        if domain is None:
            domain = stack.enter_context(own_domain())
        source = _source(arguments)
        options = GraphOptions(
            model=arguments.model,
            namespace=arguments.namespace,
            params_file=arguments.params_file,
            parameters=_parameters(arguments, source.gaze_type),
            record=arguments.record,
            use_sim_time=arguments.bag is not None,
            domain_id=domain,
        )
        log = print_log if arguments.verbose else print_warnings
        graph = stack.enter_context(LiveGraph(options, _printer(arguments), log))
        graph.play(source.node, source.parameters, remappings=source.remappings)
        graph.finish()
        print_log("tracevlm run", graph.watcher.summary())
    return 0


def _require_gaze(arguments: argparse.Namespace) -> None:
    """A video file has its gaze in a recording; a live source has it from a tracker's node."""
    if arguments.bag is not None or arguments.gaze:
        return
    if not is_live(arguments.video):
        raise ConfigError(f"--video {arguments.video} needs --gaze, its recording of gaze")
    if arguments.domain is None:
        raise ConfigError(
            f"--video {arguments.video} is live: name the --domain in which a tracker's node "
            f"publishes /{arguments.namespace}/gaze"
        )


class _Source(NamedTuple):
    """The node that plays, and the type of gaze that it gives (parameter of gaze_caption)."""

    node: str
    parameters: dict[str, Any]
    remappings: dict[str, str]
    gaze_type: str


def _source(arguments: argparse.Namespace) -> _Source:
    if arguments.video:
        parameters = {"video": arguments.video, "rate": arguments.rate}
        if arguments.gaze:
            parameters["gaze"] = arguments.gaze
        return _Source("sources", parameters, {}, "gaze_sample")
    plan = plan_bag(arguments.bag, arguments.namespace)
    parameters = {"bag": arguments.bag, "rate": arguments.rate, "wait_for": plan.wait_for}
    return _Source("player", parameters, plan.remappings, plan.gaze_type)


def _parameters(arguments: argparse.Namespace, gaze_type: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {"gaze_type": gaze_type}
    if arguments.gaze_calibration is not None:
        read_mapping(arguments.gaze_calibration)
        parameters["gaze_calibration"] = str(arguments.gaze_calibration.resolve())
    if arguments.gaze_offset_ms is not None:
        parameters["pipeline.gaze_offset_ms"] = arguments.gaze_offset_ms
    if arguments.keep_all:
        parameters |= keep_all(arguments.namespace)
    return parameters


def _printer(arguments: argparse.Namespace) -> Callable[[Mapping[str, Any]], None]:
    if not arguments.json:
        return print_caption

    def print_json(caption: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(caption, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    return print_json


def print_warnings(node: str, line: str) -> None:
    """Only what a node warns of."""
    if line.startswith(("[WARN]", "[ERROR]", "[FATAL]", "Traceback")):
        print_log(node, line)
