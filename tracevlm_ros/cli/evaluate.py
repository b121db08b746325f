"""Replay recordings offline through the live pipeline, score them, and write a report.

BAG is a rosbag2 bag or a folder of bags. --video and --gaze take a clip instead; --recorded scores
what a live graph answered. The same recording gives the same predictions, byte for byte.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from engine.runtime import load_engine
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.gaze_mapping import read_mapping
from tracevlm_ros.core.settings import from_mapping
from tracevlm_ros.evaluation.adapters.case import stroke_settings
from tracevlm_ros.evaluation.adapters.datasets import DATASETS, dataset_cases
from tracevlm_ros.evaluation.evaluate import (
    EvaluationConfig,
    Progress,
    RecordingResult,
    evaluate_bag,
    evaluate_case,
    evaluate_recorded,
    evaluate_video,
    recording_names,
)
from tracevlm_ros.evaluation.metrics.judge import JudgeConfig
from tracevlm_ros.evaluation.recording import BagTopics, VideoWithGaze, find_bags
from tracevlm_ros.evaluation.report.document import make_report, read_document
from tracevlm_ros.evaluation.report.page import write_report

_SHOW_EVERY = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", nargs="*", type=Path, metavar="BAG", help="bag or folder of bags")
    parser.add_argument("--report", type=Path, required=True, metavar="OUT", help="new folder")
    parser.add_argument("--model", default="nano", help="nano, fake or a model directory")
    parser.add_argument("--recorded", type=Path, metavar="OUTPUT_BAG",
                        help="score this recording of a live graph that played BAG")  # fmt: skip
    parser.add_argument("--video", type=Path, help="video file to replay instead of a bag")
    parser.add_argument("--gaze", type=Path, help="gaze recording that belongs to --video")
    parser.add_argument("--ground-truth", type=Path, help="sidecar (default: beside the bag)")
    parser.add_argument("--compare", type=Path, metavar="JSON", help="report.json of another run")
    parser.add_argument("--config", type=Path, help="settings of the pipeline (YAML)")
    parser.add_argument("--gaze-calibration", type=Path, metavar="YAML",
                        help="maps gaze to the image (tracevlm calibrate gaze)")  # fmt: skip
    parser.add_argument("--gaze-offset-ms", type=float,
                        help="added to gaze stamps (tracevlm calibrate clock)")  # fmt: skip
    parser.add_argument("--image-topic", help="default: the only image topic")
    parser.add_argument("--gaze-topic", help="default: the only gaze topic")
    parser.add_argument("--use-camera-info", action="store_true",
                        help="take the focal length from the bag's camera_info, as the node's "
                             "parameter use_camera_info does")  # fmt: skip
    parser.add_argument("--camera-info-topic", help="default: the only one")
    parser.add_argument("--point-is-normalised", action="store_true",
                        help="a PointStamped is 0..1 of the image, not pixels")  # fmt: skip
    parser.add_argument("--overlay", action="store_true", help="write an overlay video of each")
    parser.add_argument("--no-predictions", action="store_true",
                        help="write no output bag and no JSON lines")  # fmt: skip
    parser.add_argument("--dataset", choices=sorted(DATASETS),
                        help="BAG is a folder of this data set (docs/benchmarks.md)")  # fmt: skip
    parser.add_argument("--realtime", action="store_true",
                        help="at the recording's own pace, with live drops")  # fmt: skip
    parser.add_argument("--ray", metavar="ADDRESS",
                        help="on a Ray cluster, or 'local'; OUT can be resumed")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="with --ray, default %(default)s")
    parser.add_argument("--judge", metavar="URL",
                        help="OpenAI-compatible endpoint that marks the captions")  # fmt: skip
    parser.add_argument("--judge-model", default="", help="model of that endpoint")
    parser.add_argument("--no-java", action="store_true", help="leave METEOR and SPICE out")
    parser.add_argument("--json", action="store_true", help="print report.json instead of figures")


def run(arguments: argparse.Namespace) -> int:
    """Status 1 only when nothing at all could be evaluated."""
    _check(arguments)
    if arguments.compare is not None:
        read_document(arguments.compare)
    judge = None
    if arguments.judge is not None:
        judge = JudgeConfig(url=arguments.judge, model=arguments.judge_model)
    results = _evaluate(arguments)
    with_java = not arguments.no_java
    report = make_report(results, _title(results), arguments.compare, judge, with_java=with_java)
    page = write_report(report, arguments.report)
    for result in results:
        if result.error is not None:
            print(f"{result.name}: {result.error}", file=sys.stderr)
    if arguments.json:
        json.dump(report.document, sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        for figure in report.figures.figures:
            print(f"{figure.name:<36} {figure.value:10.4g} {figure.unit}".rstrip())
        for name, reason in report.figures.left_out.items():
            print(f"{name:<36} left out: {reason}")
        print(f"report: {page}")
    return 0 if any(result.samples.frames for result in results) else 1


def _check(arguments: argparse.Namespace) -> None:
    if bool(arguments.bags) == (arguments.video is not None):
        raise ConfigError("give bags, or --video with --gaze, and not both")
    if (arguments.video is None) != (arguments.gaze is None):
        raise ConfigError("--video and --gaze belong together; give both")
    if arguments.recorded is not None and len(arguments.bags) != 1:
        raise ConfigError(
            f"--recorded takes the one bag that was played; {len(arguments.bags)} were given"
        )
    given = arguments.gaze_calibration is not None or arguments.gaze_offset_ms is not None
    if arguments.recorded is not None and given:
        raise ConfigError(
            "--gaze-calibration and --gaze-offset-ms change a replay, not what was --recorded; "
            "leave them out"
        )
    if arguments.dataset is not None and len(arguments.bags) != 1:
        raise ConfigError(f"--dataset takes one folder; {len(arguments.bags)} were given")
    if arguments.ray is not None:
        _check_scale(arguments)
    elif arguments.report.exists() and any(arguments.report.iterdir()):
        raise InputError(f"{arguments.report} is not empty; name a new folder or remove it")


def _check_scale(arguments: argparse.Namespace) -> None:
    """What cannot be spread over workers."""
    for name in ("video", "recorded", "dataset", "ground_truth"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--ray takes bags only; leave out --{name.replace('_', '-')}")
    if arguments.realtime:
        raise ConfigError("--ray runs as fast as it goes; leave out --realtime")


def _evaluate(arguments: argparse.Namespace) -> list[RecordingResult]:
    config, out = _config(arguments), arguments.report
    if arguments.recorded is not None:
        (bag,) = arguments.bags
        name = next(recording_names([bag]))
        with_bar = _progress(name)
        return [evaluate_recorded(bag, arguments.recorded, name, config, out / name, with_bar)]
    if arguments.ray is not None:
        from tracevlm_ros.cli.evaluate_scale import evaluate_at_scale

        return evaluate_at_scale(arguments, config)
    if arguments.dataset is not None:
        return _evaluate_dataset(arguments, config)
    bags = find_bags(arguments.bags)
    if arguments.ground_truth is not None and len(bags) > 1:
        raise ConfigError(f"--ground-truth belongs to one recording; {len(bags)} were given")
    engine = load_engine(arguments.model)
    try:
        if arguments.video is not None:
            source = VideoWithGaze(video=arguments.video, gaze=arguments.gaze)
            name = arguments.video.stem
            return [evaluate_video(source, name, engine, config, out / name, _progress(name))]
        return [
            evaluate_bag(bag, name, engine, config, out / name, _progress(name))
            for bag, name in zip(bags, recording_names(bags), strict=True)
        ]
    finally:
        engine.close()


def _evaluate_dataset(
    arguments: argparse.Namespace, config: EvaluationConfig
) -> list[RecordingResult]:
    """The recordings of a data set, with the settings for drawn strokes."""
    config = replace(config, pipeline=stroke_settings(config.pipeline))
    engine = load_engine(arguments.model)
    try:
        return [
            evaluate_case(case, engine, config, arguments.report / case.name, _progress(case.name))
            for case in dataset_cases(arguments.dataset, arguments.bags[0])
        ]
    finally:
        engine.close()


def _config(arguments: argparse.Namespace) -> EvaluationConfig:
    pipeline = pipeline_config(arguments.config)
    if arguments.gaze_offset_ms is not None:
        pipeline = replace(pipeline, gaze_offset_ms=arguments.gaze_offset_ms)
    mapping = arguments.gaze_calibration
    return EvaluationConfig(
        pipeline=pipeline,
        gaze_mapping=None if mapping is None else read_mapping(mapping),
        topics=BagTopics(
            image=arguments.image_topic,
            gaze=arguments.gaze_topic,
            camera_info=arguments.camera_info_topic,
            use_camera_info=arguments.use_camera_info or arguments.camera_info_topic is not None,
            point_is_normalised=arguments.point_is_normalised,
        ),
        sidecar=arguments.ground_truth,
        with_predictions=not arguments.no_predictions,
        with_overlay=arguments.overlay,
        in_real_time=arguments.realtime,
    )


def pipeline_config(path: Path | None) -> PipelineConfig:
    if path is None:
        return PipelineConfig()
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"settings {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"settings {path} hold {type(values).__name__}; they must be sections")
    return from_mapping(PipelineConfig, values)


def _progress(name: str) -> Progress:
    """One line on a terminal, nothing in a pipe."""
    is_terminal = sys.stderr.isatty()

    def show(frames: int) -> None:
        if is_terminal and frames % _SHOW_EVERY == 0:
            print(f"\r{name}: {frames} frames", end="", file=sys.stderr, flush=True)

    return show


def _title(results: Sequence[RecordingResult]) -> str:
    if len(results) == 1:
        return f"Evaluation of {results[0].name}"
    return f"Evaluation of {len(results)} recordings"
