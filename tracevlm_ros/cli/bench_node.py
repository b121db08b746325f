"""What the node adds to a frame: capture to publish, minus the engine, across processes.

A camera (1280x720, 30 Hz) and a tracker (120 Hz) in processes of their own feed a gaze_caption
node; another process takes its masks. Capture is the camera's hand-over to ROS; its stamp lies
--camera-delay-ms before, as exposure and read-out take, and the gaze's 4 ms. Time in the engine is
subtracted per frame; of JPEG the decoding is, too. An image is lost when it was sent and did not
reach the node; what the node itself drops by policy is counted apart. Tracking and the making of
masks are not the engine's; the second line of figures leaves them out too. The encoder of --model
fake:MS takes so many milliseconds and no core, as one on a GPU, beside which tracking can run. The
first --warm-up seconds do not count. The shared-memory profile is used unless
FASTDDS_DEFAULT_PROFILES_FILE names another.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.bench_report import counter, give
from tracevlm_ros.cli.dds import own_domain
from tracevlm_ros.cli.live_graph import GraphOptions, LiveGraph
from tracevlm_ros.cli.node_timing import FrameTimes, NodeTrace, frame_times, read_trace, spread_ms
from tracevlm_ros.cli.run import print_warnings
from tracevlm_ros.core.errors import ConfigError

GOALS = {
    "raw": {"p50": 5.0, "p99": 15.0, "images_lost": 0},
    "compressed": {"p50": 3.0, "images_lost": 0},
}
GAZE_DELAY_MS = 4.0
_SENT = ("stamp_ns", "due_s", "handed_s")
_ROUNDING_S = 1e-6
_STAGES = ("image_queue", "image_decode", "gaze_wait", "fast_path", "publish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transport", choices=("raw", "compressed", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured (default 60)")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before (default 5)")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second (default 30)")
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT (default 1280x720)")
    parser.add_argument("--gaze-rate", type=float, default=120.0, help="readings a second")
    parser.add_argument("--camera-delay-ms", type=float, default=25.0,
                        help="from the stamp to the hand-over (default 25)")  # fmt: skip
    parser.add_argument("--model", default="fake", help="fake (default), fake:MS, nano or a folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="write that object into this file as well")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 whatever the figures are."""
    width, height = _size(arguments.size)
    both = arguments.transport == "both"
    transports = ("raw", "compressed") if both else (arguments.transport,)
    result: dict[str, Any] = {
        "model": arguments.model,
        "size_hw": [height, width],
        "rate_hz": arguments.rate,
        "gaze_rate_hz": arguments.gaze_rate,
        "camera_delay_ms": arguments.camera_delay_ms,
        "seconds": arguments.seconds,
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "goals": {name: GOALS[name] for name in transports},
    }
    show = counter(len(transports))
    for done, transport in enumerate(transports, 1):
        with tempfile.TemporaryDirectory() as folder:
            result[transport] = measure(arguments, transport, (height, width), Path(folder))
        show(done)
    return give(arguments, result, as_text(result, transports))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--size is {text!r}; it must be WIDTHxHEIGHT, for example 1280x720")
    return int(width), int(height)


def measure(
    arguments: argparse.Namespace, transport: str, size_hw: tuple[int, int], folder: Path
) -> dict[str, Any]:
    """Run one graph and evaluate its logs, which go to ``folder``."""
    camera, trace, masks = (folder / f"{name}.json" for name in ("camera", "trace", "masks"))
    seconds = arguments.seconds + arguments.warm_up
    shape = {"width": size_hw[1], "height": size_hw[0]}
    with own_domain() as domain_id:
        options = GraphOptions(
            model=arguments.model,
            parameters={"trace_file": trace, "image_transport": transport},
            domain_id=domain_id,
        )
        with LiveGraph(options, lambda _caption: None, print_warnings) as graph:
            graph.watcher.wait_until_active()
            inside: dict[str, Any] = {"namespace": options.namespace}
            graph.graph.start("bench_listener", {"log": masks}, **inside)
            gaze = {"sends": "gaze", "rate_hz": arguments.gaze_rate, "delay_ms": GAZE_DELAY_MS}
            # The gaze goes on while the camera paints its pictures; it ends with the graph.
            endless = {**gaze, **shape, "seconds": 86_400.0}
            graph.graph.start("bench_source", endless, name="bench_tracker", **inside)
            images = {
                "sends": transport,
                "rate_hz": arguments.rate,
                "seconds": seconds,
                "delay_ms": arguments.camera_delay_ms,
                "log": camera,
                **shape,
            }
            graph.play("bench_source", images, name="bench_camera")
            diagnostics = graph.watcher.diagnostics
            # The logs tell all: a helper that does not end well spoils no measurement.
            for node, status in zip(graph.graph.nodes, graph.graph.end(), strict=True):
                if status:
                    sys.stderr.write(f"{node.name} ended with status {status}\n")
    return evaluate(camera, read_trace(trace), masks, arguments.warm_up, diagnostics)


def evaluate(
    camera: Path, trace: NodeTrace, masks: Path, warm_up_s: float, diagnostics: dict[str, Any]
) -> dict[str, Any]:
    """Latency and losses of the frames that were due after ``warm_up_s``."""
    sent = json.loads(camera.read_text(encoding="utf-8"))
    got = json.loads(masks.read_text(encoding="utf-8"))
    warm_s = sent["due_s"][0] + warm_up_s - _ROUNDING_S
    captured = {
        stamp: handed
        for stamp, due, handed in zip(*(sent[k] for k in _SENT), strict=True)
        if due >= warm_s
    }
    begin_s = min(captured.values())
    received = dict(zip(got["stamp_ns"], got["arrived_s"], strict=True))
    times = frame_times(captured, trace, received)
    arrived = sum(1 for arrival_s in trace.image_arrivals_s if arrival_s >= begin_s)
    stages = {
        stage: spread_ms([1e3 * (s.end_s - s.start_s) for t, s in spans.items() if t in captured])
        for stage, spans in trace.stages.items()
        if stage in _STAGES
    }
    drops = {k: v for k, v in diagnostics.get("drops", {}).items() if k not in ("message", "level")}
    return {
        "images_sent": len(captured),
        "images_lost": max(0, len(captured) - arrived),
        "dropped_by_policy": max(0, arrived - len(times)),
        "masks_published": len(times),
        "masks_received": sum(1 for each in times.values() if each.received_ms is not None),
        **_latency(list(times.values())),
        "stages_ms": stages,
        "drops_of_the_whole_run": drops,
    }


def _latency(times: list[FrameTimes]) -> dict[str, Any]:
    return {
        "capture_to_publish_minus_engine_ms": spread_ms([e.without_engine_ms for e in times]),
        "capture_to_publish_minus_fast_path_ms": spread_ms([e.without_fast_path_ms for e in times]),
        "capture_to_publish_ms": spread_ms([each.published_ms for each in times]),
        "engine_ms": spread_ms([each.engine_ms for each in times]),
        "decode_ms": spread_ms([each.decode_ms for each in times]),
        "capture_to_subscriber_ms": spread_ms(
            [each.received_ms for each in times if each.received_ms is not None]
        ),
    }


def as_text(result: dict[str, Any], transports: tuple[str, ...]) -> list[str]:
    height, width = result["size_hw"]
    lines = [
        f"{width}x{height} at {result['rate_hz']:g} Hz for {result['seconds']:g} s, "
        f"model {result['model']}, {result['cores']} cores, load {result['load_average']}"
    ]
    for transport in transports:
        row, goal = result[transport], result["goals"][transport]
        lines.append(
            f"{transport}: {row['images_sent']} sent, {row['images_lost']} lost, "
            f"{row['dropped_by_policy']} dropped by policy, {row['masks_received']} masks received"
        )
        lines += [f"  {name:<36} {_text(row[name])}" for name in row if name.endswith("_ms") and
                  name != "stages_ms"]  # fmt: skip
        lines += [
            f"  stage {name:<30} {_text(values)}" for name, values in row["stages_ms"].items()
        ]
        lines.append(f"  goal, minus the engine (and decoding)  {_text(goal)}")
    return lines


def _text(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
