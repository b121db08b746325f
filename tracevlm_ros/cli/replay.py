"""Publish a rosbag2 bag (MCAP or SQLite3) with /clock, as it was recorded. Space pauses."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.live_graph import print_log
from tracevlm_ros.cli.processes import NodeGraph
from tracevlm_ros.cli.ros_names import namespace
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.nodes.keyboard import is_ours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="bag folder or file")
    parser.add_argument("--rate", type=float, default=1.0, help="speed (default 1)")
    parser.add_argument("--start", type=float, default=0.0, help="seconds to skip at the start")
    parser.add_argument("--duration", type=float, default=0.0, help="seconds to play (0: all)")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--no-clock", action="store_true", help="publish no /clock")
    parser.add_argument("--topics", default="", help="only these, separated by commas")
    parser.add_argument(
        "--remap", action="append", default=[], metavar="FROM:=TO", help="rename a topic"
    )
    parser.add_argument(
        "--to", type=namespace, default="", metavar="NAMESPACE",
        help="rename the bag's image, gaze and words to the inputs of a graph in this namespace",
    )  # fmt: skip
    parser.add_argument(
        "--wait", type=float, default=30.0, help="longest wait for subscribers, in seconds"
    )
    parser.add_argument("--domain", type=int, help="DDS domain (default: ROS_DOMAIN_ID)")


def run(arguments: argparse.Namespace) -> int:
    """Play to the end; the exit status is the player's."""
    remappings = dict(_rule(text) for text in arguments.remap)
    parameters: dict[str, Any] = {
        "bag": arguments.bag,
        "rate": arguments.rate,
        "start_s": arguments.start,
        "duration_s": arguments.duration,
        "loop": arguments.loop,
        "topics": arguments.topics,
        "wait_s": arguments.wait,
    }
    if arguments.no_clock:
        parameters["clock_hz"] = 0.0
    if arguments.to:
        plan = plan_bag(arguments.bag, arguments.to)
        remappings = {**plan.remappings, **remappings}
        parameters["wait_for"] = plan.wait_for
    with NodeGraph(domain_id=arguments.domain, on_line=print_log) as graph:
        keys = sys.stdin if is_ours(sys.stdin) else subprocess.DEVNULL
        player = graph.start("player", parameters, remappings=remappings, stdin=keys)
        while (status := player.wait(0.2)) is None:
            pass
    return status


def _rule(text: str) -> tuple[str, str]:
    source, separator, target = text.partition(":=")
    if not (source and separator and target):
        raise ConfigError(f"--remap is {text!r}; it must be FROM:=TO")
    return source, target
