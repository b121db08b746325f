"""Bags through the pipeline, offline."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.runtime import load_engine
from engine.runtime.fake import FakeEngine
from tests.evaluation.scenes import copy_bag, shift_stamps, write_bag
from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import BackendError, InputError
from tracevlm_ros.core.pipeline import Pipeline
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.evaluate import (
    EvaluationConfig,
    RecordingResult,
    evaluate_bag,
    recording_names,
)
from tracevlm_ros.evaluation.figures import make_figures
from tracevlm_ros.evaluation.live_replay import replay_live
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.recording import (
    BagTopics,
    bag_samples,
    find_bags,
    merged_samples,
)
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import message_class


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "one", seconds=3.0)


def test_two_runs_over_one_bag_write_the_same_bytes(bag: Path, tmp_path: Path) -> None:
    for run in ("first", "second"):
        result = evaluate_bag(bag, "one", FakeEngine(), EvaluationConfig(), tmp_path / run)
        assert result.error is None
    for name in ("predictions.jsonl", "bag/bag.mcap", "bag/metadata.yaml"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime-cpu", "openvino-cpu", "mixed-cpu"])
def test_two_runs_of_the_shipped_model_write_the_same_bytes(backend: str, tmp_path: Path) -> None:
    """Each run with an engine of its own, as two calls of the command have."""
    short = write_bag(tmp_path / "short", seconds=1.5)
    for run in ("first", "second"):
        try:
            engine = load_engine("nano", backend)
        except BackendError as error:
            pytest.skip(str(error))
        result = evaluate_bag(short, "short", engine, EvaluationConfig(), tmp_path / run)
        engine.close()
        assert result.error is None
        assert result.samples.visits_described > 0
    for name in ("predictions.jsonl", "bag/bag.mcap"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_every_prediction_belongs_to_a_frame_and_the_scores_say_so(
    bag: Path, tmp_path: Path
) -> None:
    result = evaluate_bag(bag, "one", FakeEngine(), EvaluationConfig(), tmp_path / "out")
    with BagReader(bag) as source:
        frames = [s for s in bag_samples(source, BagTopics(), Drops()) if isinstance(s, Frame)]
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").open(encoding="utf-8")
    ]
    assert [line["stamp_ns"] for line in lines] == [frame.stamp_ns for frame in frames]
    assert any(line["captions"] for line in lines)
    assert result.samples.frames == len(frames) == 30
    values = make_figures(result.samples, with_java=False).values()
    assert 0.0 < values["j_mean"] < 1.0
    assert values["described"] == 1.0
    assert len(result.strip) == 8
    assert result.cases.best[0].value >= result.cases.worst[0].value


def test_a_bag_without_ground_truth_is_still_evaluated(bag: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    with BagReader(bag) as source, BagWriter(bare) as target:
        for record in source.records():
            if not record.topic.startswith("/ground_truth"):
                target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
    result = evaluate_bag(bare, "bare", FakeEngine(), EvaluationConfig(), tmp_path / "out")
    assert result.missing_truth == ("captions", "masks")
    left_out = make_figures(result.samples, with_java=False).left_out
    assert left_out["CIDEr-D"] == "no ground truth captions"
    assert "J mean" in left_out


def with_focal(bag: Path, folder: Path, focal_px: float) -> Path:
    """The same recording by a camera that tells another focal length."""
    with BagReader(bag) as source, BagWriter(folder) as target:
        for record in source.records():
            if record.topic.endswith("/camera_info"):
                info = record.decode()
                matrix = np.array([focal_px, *info.k[1:]])
                info = dataclasses.replace(info, k=matrix)
                target.write(record.topic, info, record.log_ns)
            else:
                target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
    return folder


def played(bag: Path, folder: Path, config: EvaluationConfig) -> tuple[bytes, RecordingResult]:
    result = evaluate_bag(bag, "one", FakeEngine(), config, folder)
    assert result.error is None
    return (folder / "predictions.jsonl").read_bytes(), result


def test_camera_info_of_a_bag_sets_the_focal_length_where_asked_for(
    bag: Path, tmp_path: Path
) -> None:
    """A long lens: all that was looked at lies within few degrees and is one trace."""
    long = with_focal(bag, tmp_path / "long", 5000.0)
    asked = EvaluationConfig(topics=BagTopics(use_camera_info=True))
    told = EvaluationConfig(pipeline=PipelineConfig(trace=TraceConfig(focal_px=5000.0)))
    plain, without = played(long, tmp_path / "a", EvaluationConfig())
    from_bag, result = played(long, tmp_path / "b", asked)
    from_settings, _ = played(long, tmp_path / "c", told)
    assert from_bag == from_settings != plain
    assert result.samples.traces == 1 < without.samples.traces
    live = list(replay_of(long, asked.topics, speed=20.0))
    assert {trace.trace_id for outcome in live for trace in outcome.traces} == {1}


def replay_of(bag: Path, topics: BagTopics, speed: float) -> Iterator[FrameOutcome]:
    """At the recording's own pace, ``speed`` times as fast."""
    engine = FakeEngine()
    pipeline = Pipeline(PipelineConfig(), engine)
    with BagReader(bag) as source:
        yield from replay_live(
            bag_samples(source, topics, pipeline.drops), pipeline, engine, speed=speed
        )


@pytest.mark.parametrize("focal_px", [0.0, float("nan")])
def test_a_camera_without_calibration_is_counted_and_changes_nothing(
    bag: Path, tmp_path: Path, focal_px: float
) -> None:
    bare = with_focal(bag, tmp_path / "bare", focal_px)
    asked = EvaluationConfig(topics=BagTopics(use_camera_info=True))
    plain, _ = played(bare, tmp_path / "a", EvaluationConfig())
    same, result = played(bare, tmp_path / "b", asked)
    assert same == plain
    assert result.samples.drops["camera_info_without_focal"] > 0


def test_a_bag_without_the_camera_info_that_is_asked_for_is_refused(
    bag: Path, tmp_path: Path
) -> None:
    topics = BagTopics(use_camera_info=True, camera_info="/other")
    result = evaluate_bag(
        bag, "one", FakeEngine(), EvaluationConfig(topics=topics), tmp_path / "out"
    )
    assert result.error is not None and "no topic /other" in result.error


def test_what_was_scored_before_damage_is_kept_with_the_error(bag: Path, tmp_path: Path) -> None:
    """An unreadable ground-truth mask half-way ends the run, not the results."""
    broken = tmp_path / "broken"
    count = 0
    with BagReader(bag) as source, BagWriter(broken) as target:
        for record in source.records():
            raw = record.raw
            if record.topic == "/ground_truth/masks":
                count += 1
                raw = raw[:-40] + bytes(40) if count == 20 else raw
                raw = raw.replace(b"PNG", b"XXX") if count == 20 else raw
            target.write_raw(record.topic, record.msgtype, record.log_ns, raw)
    result = evaluate_bag(broken, "broken", FakeEngine(), EvaluationConfig(), tmp_path / "out")
    assert result.error is not None and "cannot be decoded" in result.error
    assert 0 < result.samples.frames < 30
    assert (tmp_path / "out" / "bag" / "metadata.yaml").is_file()


def test_unreadable_frames_and_gaze_are_counted_and_passed_over(bag: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    spoiled = {"/camera/image/compressed": 0, "/gaze": 0}
    with BagReader(bag) as source, BagWriter(damaged) as target:
        for record in source.records():
            raw = bytes(record.raw)
            if record.topic in spoiled:
                spoiled[record.topic] += 1
                if spoiled[record.topic] == 5:
                    raw = raw[:12]
            target.write_raw(record.topic, record.msgtype, record.log_ns, raw)
    drops = Drops()
    with BagReader(damaged) as source:
        frames = [s for s in bag_samples(source, BagTopics(), drops) if isinstance(s, Frame)]
    assert len(frames) == 29
    assert (drops["frame_unreadable"], drops["gaze_unreadable"]) == (1, 1)


@pytest.mark.parametrize("by_s", [3600, -3600])
def test_gaze_of_another_clock_is_told_with_what_both_cover_and_nothing_is_scored(
    by_s: int, bag: Path, tmp_path: Path
) -> None:
    late = shift_stamps(bag, tmp_path / "late", "/gaze", by_s * 10**9)
    result = evaluate_bag(late, "late", FakeEngine(), EvaluationConfig(), tmp_path / "out")
    assert result.error is not None
    assert re.search(
        r"gaze covers -?\d+\.\d\d\.\.-?\d+\.\d\d s, frames .*never overlap", result.error
    )
    assert "tracevlm calibrate clock" in result.error
    assert (result.samples.frames, result.samples.visits) == (0, 0)


def test_gaze_that_is_shifted_back_onto_the_frames_is_no_error(bag: Path, tmp_path: Path) -> None:
    late = shift_stamps(bag, tmp_path / "late", "/gaze", 5 * 10**9)
    config = EvaluationConfig(pipeline=PipelineConfig(gaze_offset_ms=-5000.0))
    result = evaluate_bag(late, "late", FakeEngine(), config, tmp_path / "out")
    assert result.error is None
    assert result.samples.visits_described > 0


def test_a_recording_that_stops_half_way_does_not_lower_the_pooled_figures(
    bag: Path, tmp_path: Path
) -> None:
    """The camera falls silent after 1.2 of 3 s; its visits are known to the end."""
    frames = 0

    def until_the_camera_stops(record: BagRecord, copy: BagWriter) -> bytes | None:
        nonlocal frames
        frames += record.topic == "/camera/image/compressed"
        is_late = record.topic == "/camera/image/compressed" and frames > 12
        return None if is_late else bytes(record.raw)

    half = copy_bag(bag, tmp_path / "half", until_the_camera_stops)
    engine, config = FakeEngine(), EvaluationConfig()
    good = evaluate_bag(bag, "good", engine, config, tmp_path / "1").samples
    cut = evaluate_bag(half, "half", engine, config, tmp_path / "2").samples
    assert cut.visits_not_reached > 0
    assert cut.visits + cut.visits_not_reached == good.visits
    values = make_figures(good, with_java=False).values()
    good.pour(cut)
    pooled = make_figures(good, with_java=False).values()
    assert pooled["described"] == values["described"] == 1.0
    assert pooled["visits_not_reached"] == cut.visits_not_reached


def test_gaze_in_units_of_the_image_waits_for_the_first_frame(tmp_path: Path) -> None:
    time = message_class("builtin_interfaces/msg/Time")
    header = message_class("std_msgs/msg/Header")
    point = message_class("geometry_msgs/msg/PointStamped")
    place = message_class("geometry_msgs/msg/Point")
    image = message_class("sensor_msgs/msg/Image")
    with BagWriter(tmp_path / "bag") as target:
        target.write("/gaze", point(header(time(1, 0), "c"), place(0.5, 0.25, 0.0)), 10)
        pixels = np.zeros(40 * 60 * 3, np.uint8)
        target.write("/image", image(header(time(1, 9), "c"), 40, 60, "rgb8", 0, 180, pixels), 20)
    with BagReader(tmp_path / "bag") as source:
        topics = BagTopics(point_is_normalised=True)
        first, second = bag_samples(source, topics, Drops())
    assert isinstance(first, GazeSample)
    assert isinstance(second, Frame)
    assert (first.x_px, first.y_px) == (29.5, 9.5)


def test_two_streams_are_merged_by_stamp_with_gaze_first() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    frames = [Frame(stamp, image) for stamp in (10, 20)]
    gaze = [GazeSample(stamp, 0.0, 0.0) for stamp in (5, 10, 15, 30, 40)]
    merged = [(type(s).__name__[0], s.stamp_ns) for s in merged_samples(frames, gaze)]
    assert merged == [("G", 5), ("G", 10), ("F", 10), ("G", 15), ("F", 20), ("G", 30), ("G", 40)]


def test_bags_are_found_in_folders_and_their_names_made_unique(bag: Path, tmp_path: Path) -> None:
    shutil.copytree(bag, tmp_path / "a" / "one")
    shutil.copytree(bag, tmp_path / "b" / "one")
    found = find_bags([tmp_path, tmp_path / "a" / "one"])
    assert found == [tmp_path / "a" / "one", tmp_path / "b" / "one"]
    assert list(recording_names(found)) == ["one", "one_2"]


def test_a_folder_without_bags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bag"):
        find_bags([tmp_path])
