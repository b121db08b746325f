"""Record topics of the running graph into a bag, until Ctrl-C."""

import argparse
import time
from pathlib import Path

from tracevlm_ros.cli.live_graph import print_log
from tracevlm_ros.cli.processes import NodeGraph


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="folder of the new bag")
    parser.add_argument("topics", nargs="*", help="topics to record (default: all)")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--duration", type=float, default=float("inf"), help="seconds to record")
    parser.add_argument("--sim-time", action="store_true", help="log times follow /clock")
    parser.add_argument("--domain", type=int, help="DDS domain (default: ROS_DOMAIN_ID)")


def run(arguments: argparse.Namespace) -> int:
    """Record; Ctrl-C and the end of ``--duration`` (counted from the beginning of the bag) close it
    and are success."""
    parameters = {
        "bag": arguments.bag,
        "topics": ",".join(arguments.topics),
        "storage": arguments.storage,
        "use_sim_time": arguments.sim_time,
    }
    limit_s = float("inf")
    with NodeGraph(domain_id=arguments.domain, on_line=print_log) as graph:
        recorder = graph.start("recorder", parameters)
        try:
            while time.monotonic() < limit_s:
                status = recorder.wait(0.2)
                if status is not None:
                    return status
                if limit_s == float("inf") and arguments.bag.exists():
                    limit_s = time.monotonic() + arguments.duration
        except KeyboardInterrupt:
            pass
        return recorder.end()
