"""Measure by how much the clock of gaze is off the camera's, from motion that both have seen.

Turn the head for some 20 s while looking at one thing that stays where it is; or follow a target
that moves with the eyes: a marker (--marker) or a place on a topic (--target-topic). What comes out
is used as --gaze-offset-ms of run, evaluate and calibrate gaze.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from calibration.camera_motion import camera_motion
from calibration.clock_file import write_offset
from calibration.clock_offset import Motion, estimate_offset
from calibration.markers import MarkerDetector
from calibration.target_motion import target_motion
from tracevlm_ros.cli.calibration_input import (
    Recording,
    add_recording_arguments,
    opened_recording,
    require_new,
    split,
)
from tracevlm_ros.cli.calibration_targets import (
    add_target_arguments,
    bag_of_targets,
    marker_config,
    topic_targets,
)
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, GazeSample

_MIN_CONFIDENCE = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recording_arguments(parser)
    add_target_arguments(parser, None)
    parser.add_argument("--output", type=Path, required=True, help="new YAML file")
    parser.add_argument("--max-offset-ms", type=float, default=500.0, help="how far to look")
    parser.add_argument("--window-s", type=float, default=20.0, help="length of each measurement")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write."""
    require_new(arguments.output)
    samples: list[GazeSample] = []
    with opened_recording(arguments) as recording:
        seen = _seen_motion(arguments, recording, split(recording.samples, samples))
    found = estimate_offset(
        _gaze_motion(samples), seen, arguments.max_offset_ms, arguments.window_s
    )
    given_ms = arguments.gaze_offset_ms
    whole_ms = given_ms + found.offset_ns / 1e6
    source = str(arguments.bag or arguments.video)
    notes = {
        "source": source,
        "gaze_offset_ms_given": given_ms,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_offset(arguments.output, found, notes)
    if arguments.json:
        figures = {
            "offset_ms": found.offset_ns / 1e6,
            "gaze_offset_ms": whole_ms,
            "drift_ppm": found.drift_ppm,
            "correlation": found.correlation,
            "windows": found.windows,
        }
        print(json.dumps(figures))
        return 0
    print(f"offset       {found.offset_ns / 1e6:+.1f} ms (added to gaze stamps)")
    print(f"drift        {found.drift_ppm:+.1f} ppm" if found.windows >= 4 else
          f"drift        unknown: {found.windows} window(s), 4 are needed")  # fmt: skip
    print(f"correlation  {found.correlation:.2f} in {found.windows} window(s)")
    print(f"written      {arguments.output}; use it as: --gaze-offset-ms {whole_ms:.1f}")
    return 0


def _seen_motion(
    arguments: argparse.Namespace, recording: Recording, frames: Iterator[Frame]
) -> Motion:
    """What gaze moved with: the target where one is named, else the picture."""
    bag = bag_of_targets(arguments, recording.bag)
    if bag is not None:
        sizes = [frame.image_rgb.shape[:2] for frame in frames]
        if not sizes:
            raise InputError("the recording has no readable frame; check its image topic")
        height, width = sizes[0]
        return target_motion(topic_targets(arguments, bag, (height, width)))
    if arguments.marker is None and arguments.board is None:
        return camera_motion(frames)
    detector = MarkerDetector(marker_config(arguments))
    return target_motion(sighting for frame in frames for sighting in detector.find(frame))


def _gaze_motion(samples: list[GazeSample]) -> Motion:
    """Samples by stamp, doubles left out, readings that are not trusted unknown."""
    by_stamp = {sample.stamp_ns: sample for sample in samples}
    ordered = [by_stamp[stamp] for stamp in sorted(by_stamp)]
    xy = np.array([(s.x_px, s.y_px) for s in ordered], dtype=np.float64).reshape(-1, 2)
    xy[[s.confidence < _MIN_CONFIDENCE for s in ordered]] = np.nan
    return Motion(np.array(sorted(by_stamp), dtype=np.int64), xy)
