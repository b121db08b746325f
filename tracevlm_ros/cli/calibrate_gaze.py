"""Fit gaze to the camera's image, from targets that were looked at.

Targets are markers in the picture (one carried about, or several looked at in turn), points that
were clicked (--points, a table start_s,end_s,x_px,y_px with seconds from the first frame), or
positions on a topic of the bag (--target-topic). At least 3 that are not on one line; 9 over the
whole image are good.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from calibration.clicked_targets import read_clicked_targets
from calibration.gaze_to_camera import MODELS, GazeCalibration, calibrate_gaze
from calibration.intrinsics import from_focal, from_matrix, read_camera_yaml
from calibration.looks import LookRules, looks_at_sightings, looks_in_spans
from calibration.markers import MarkerDetector, Sighting
from calibration.observations import TargetLook
from calibration.residual_picture import residual_picture, write_picture
from tracevlm_ros.cli.calibration_input import (
    Recording,
    add_recording_arguments,
    opened_recording,
    require_new,
    split,
)
from tracevlm_ros.cli.calibration_targets import (
    DEFAULT_FAMILY,
    add_target_arguments,
    bag_of_targets,
    marker_config,
    topic_targets,
)
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.gaze_mapping import Intrinsics, write_mapping
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.stamp_spans import Span, require_overlap, span_of
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.camera_info import lens_of, matrix_of
from tracevlm_ros.ingest.topics import TopicKind

_TOPIC_UNSEEN_MS = 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recording_arguments(parser)
    targets = add_target_arguments(parser, DEFAULT_FAMILY)
    targets.add_argument("--points", type=Path, metavar="CSV", help="clicked points")
    parser.add_argument("--focal-px", type=float, help="focal length: gives degrees and 3-D")
    parser.add_argument("--camera", type=Path, metavar="YAML",
                        help="ROS camera calibration (default: the bag's camera_info)")  # fmt: skip
    parser.add_argument("--models", default=",".join(MODELS), help="models to choose from")
    parser.add_argument("--max-distance", type=float, default=LookRules().max_distance,
                        help="from gaze to its target at most, of the long side")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="new YAML file")
    parser.add_argument("--picture", type=Path, help="residuals (default: OUTPUT with .png)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Fit, print, write the mapping and the picture."""
    picture = arguments.picture or arguments.output.with_suffix(".png")
    for path in (arguments.output, picture):
        require_new(path)
    drops = Drops()
    with opened_recording(arguments) as recording:
        seen = _observe(arguments, recording, drops)
        looks = _looks(arguments, seen, drops)
        intrinsics = _intrinsics(arguments, recording.bag, seen.size_hw)
    if not looks:
        _require_one_clock(arguments, seen)
        raise InputError(f"no target was looked at ({_reasons(drops)}); see docs/calibration.md")
    calibration = calibrate_gaze(looks, seen.size_hw, intrinsics, arguments.models.split(","))
    figures = _figures(calibration, drops)
    notes = {
        **figures,
        "source": str(arguments.bag or arguments.video),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_mapping(arguments.output, calibration.mapping, notes)
    write_picture(picture, residual_picture(calibration))
    if arguments.json:
        print(json.dumps(figures))
        return 0
    for line in _lines(calibration, drops):
        print(line)
    print(f"written    {arguments.output} and {picture}")
    return 0


class _Seen(NamedTuple):
    size_hw: tuple[int, int]
    frames: Span
    sightings: list[Sighting]
    gaze: list[GazeSample]


def _observe(arguments: argparse.Namespace, recording: Recording, drops: Drops) -> _Seen:
    """One pass over the recording, detecting markers where those are the targets."""
    bag = bag_of_targets(arguments, recording.bag)
    with_markers = arguments.points is None and bag is None
    detector = MarkerDetector(marker_config(arguments)) if with_markers else None
    gaze: list[GazeSample] = []
    sightings: list[Sighting] = []
    first: Frame | None = None
    stamps: list[int] = []
    for frame in split(recording.samples, gaze):
        first = first or frame
        stamps.append(frame.stamp_ns)
        found = detector.find(frame) if detector is not None else []
        drops["frame_without_target"] += detector is not None and not found
        sightings += found
    frames = span_of(stamps)
    if first is None or frames is None:
        raise InputError("the recording has no readable frame; check it with ffprobe")
    height, width = first.image_rgb.shape[:2]
    if bag is not None:
        sightings = list(topic_targets(arguments, bag, (height, width)))
    return _Seen((height, width), frames, sightings, gaze)


def _looks(arguments: argparse.Namespace, seen: _Seen, drops: Drops) -> list[TargetLook]:
    rules = LookRules(max_distance=arguments.max_distance)
    if arguments.points is not None:
        spans = read_clicked_targets(arguments.points, seen.frames.first_ns)
        return looks_in_spans(spans, seen.gaze, seen.size_hw, rules, drops)
    if arguments.target_topic is not None:
        rules = LookRules(max_distance=arguments.max_distance, max_unseen_ms=_TOPIC_UNSEEN_MS)
    return looks_at_sightings(seen.sightings, seen.gaze, seen.size_hw, rules, drops)


def _require_one_clock(arguments: argparse.Namespace, seen: _Seen) -> None:
    """Raise InputError when gaze never overlaps what it should be compared with."""
    gaze = span_of(sample.stamp_ns for sample in seen.gaze)
    if arguments.target_topic is None:
        require_overlap(gaze, seen.frames)
    else:
        require_overlap(gaze, span_of(one.stamp_ns for one in seen.sightings), "targets")


def _intrinsics(
    arguments: argparse.Namespace, bag: BagReader | None, size_hw: tuple[int, int]
) -> Intrinsics | None:
    """What the user gives, else camera_info of the bag, else None; InputError where that is of
    images of another shape."""
    if arguments.focal_px is not None and arguments.camera is not None:
        raise ConfigError("--focal-px and --camera both tell the camera; give one")
    if arguments.focal_px is not None:
        return from_focal(arguments.focal_px, size_hw)
    if arguments.camera is not None:
        return read_camera_yaml(arguments.camera)
    types = TopicKind.CAMERA_INFO.types
    topics = [t for t in (bag.topics if bag else ()) if t.msgtype in types and t.message_count]
    if bag is None or len(topics) != 1:
        return None
    message = next(bag.records({topics[0].name})).decode()
    lens = lens_of(message)
    if lens is None:
        return None
    if problem := lens.problem(size_hw):
        raise InputError(f"{topics[0].name}: {problem}, or give --focal-px or --camera")
    return from_matrix(matrix_of(message), lens.size_hw or size_hw, topics[0].name)


def _figures(calibration: GazeCalibration, drops: Drops) -> dict[str, Any]:
    names = ("accuracy_px", "accuracy_deg", "bias_px", "bias_deg", "precision_px", "precision_deg")
    return {
        "model": calibration.mapping.model,
        "targets": len(calibration.targets_px),
        **{name: getattr(calibration, name) for name in names},
        "cross_validated": calibration.cross_validated,
        "cross_validation_px": calibration.cross_validation_px,
        "warnings": list(calibration.warnings),
        "left_out": {name: count for name, count in sorted(drops.items()) if count},
    }


def _lines(calibration: GazeCalibration, drops: Drops) -> Iterator[str]:
    def both(pixels: float, degrees: float | None) -> str:
        text = f"{pixels:7.1f} px"
        return text if degrees is None else f"{text}  {degrees:6.2f} deg"

    kind = "held-out targets" if calibration.cross_validated else "the fitted targets"
    yield f"model      {calibration.mapping.model}, {len(calibration.targets_px)} targets"
    yield f"accuracy   {both(calibration.accuracy_px, calibration.accuracy_deg)} at {kind}"
    yield f"before     {both(calibration.bias_px, calibration.bias_deg)}"
    yield f"precision  {both(calibration.precision_px, calibration.precision_deg)}"
    for model, score in calibration.cross_validation_px.items():
        yield f"  {model:<12} {score:7.1f} px"
    if calibration.accuracy_deg is None:
        yield "degrees are unknown: give --focal-px or --camera"
    if any(drops.values()):
        yield f"left out   {_reasons(drops)}"
    for warning in calibration.warnings:
        yield f"warning    {warning}"


def _reasons(drops: Drops) -> str:
    counts = (f"{name} {count}" for name, count in sorted(drops.items()) if count)
    return ", ".join(counts) or "no gaze"
