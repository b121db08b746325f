"""`tracevlm view`: a bag and its results as a Rerun file, read back with Rerun's own reader."""

import importlib
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.scenes import box, keypoints_at, write_bag
from tracevlm_ros.cli import rerun_log, view
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.overlay import colour_of
from tracevlm_ros.core.types import Frame, Masks, TraceSnapshot
from tracevlm_ros.evaluation.outcome import FrameOutcome
from tracevlm_ros.evaluation.recording import BagTopics, bag_samples
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import message_class

SCENE = {"video", "masks", "traces", "keypoints", "captions"}


@pytest.fixture(scope="module")
def rerun() -> Any:
    return pytest.importorskip("rerun", reason="rerun-sdk (extra [view]) is not installed")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "one", seconds=3.0)


@pytest.fixture(scope="module")
def outputs(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a replay of ``bag`` wrote, with attention maps beside it."""
    folder = tmp_path_factory.mktemp("results")
    assert (
        main(["evaluate", str(bag), "--model", "fake", "--no-java", "--report", f"{folder}/r"]) == 0
    )
    with BagReader(folder / "r" / "one" / "bag") as source, BagWriter(folder / "bag") as target:
        for record in source.records():
            target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
        for stamp_ns in frame_stamps(bag)[::5]:
            target.write("/tracevlm/attention", attention_message(stamp_ns), stamp_ns)
    return folder / "bag"


def frame_stamps(bag: Path) -> list[int]:
    with BagReader(bag) as reader:
        samples = list(bag_samples(reader, BagTopics(), Drops()))
    return [sample.stamp_ns for sample in samples if isinstance(sample, Frame)]


def attention_message(stamp_ns: int) -> Any:
    time = message_class("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 10**9))
    header = message_class("std_msgs/msg/Header")(time, "camera")
    data = np.full(6 * 8, 7, dtype=np.uint8)
    return message_class("sensor_msgs/msg/Image")(header, 6, 8, "mono8", 0, 8, data)


def times_of(rerun: Any, path: Path) -> dict[str, list[int]]:
    """The stamps of each entity that has any, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for chunk in rerun.chunk.RrdReader(path).store().stream():
        if "stamp" in chunk.timeline_names:
            stamps = chunk.to_record_batch().column("stamp").to_numpy(zero_copy_only=False)
            found[str(chunk.entity_path)] += stamps.astype("datetime64[ns]").astype(int).tolist()
    return {entity: sorted(stamps) for entity, stamps in found.items()}


def test_a_recorded_run_is_saved_with_every_layer_at_the_stamps_of_its_frames(
    rerun: Any, bag: Path, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.rrd"
    assert main(["view", str(bag), "--recorded", str(outputs), "--save", str(file)]) == 0
    stamps = frame_stamps(bag)
    assert capsys.readouterr().out == f"{len(stamps)} frames in {file}\n"
    times = times_of(rerun, file)
    assert all(times[f"/scene/{layer}"] == stamps for layer in SCENE)
    assert times["/attention"] == stamps[::5]
    assert set(times["/captions/final"]) <= set(stamps)
    assert len(times["/scene/gaze"]) > len(stamps)


def test_a_bag_without_results_is_run_through_the_model(
    rerun: Any, bag: Path, outputs: Path, tmp_path: Path
) -> None:
    replayed, recorded = tmp_path / "replayed.rrd", tmp_path / "recorded.rrd"
    assert main(["view", str(bag), "--model", "fake", "--save", str(replayed)]) == 0
    assert main(["view", str(bag), "--recorded", str(outputs), "--save", str(recorded)]) == 0
    ours, theirs = times_of(rerun, replayed), times_of(rerun, recorded)
    assert ours.pop("/attention") == frame_stamps(bag)
    assert ours == {entity: stamps for entity, stamps in theirs.items() if entity != "/attention"}


def test_a_bag_that_holds_its_own_results_shows_them(
    rerun: Any, bag: Path, outputs: Path, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "both") as target:
        for path in (bag, outputs):
            with BagReader(path) as source:
                for record in source.records():
                    target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
    file = tmp_path / "both.rrd"
    no_model = ["--model", str(tmp_path / "there is none")]
    assert main(["view", str(tmp_path / "both"), *no_model, "--save", str(file)]) == 0
    assert times_of(rerun, file)["/attention"] == frame_stamps(bag)[::5]


def test_each_trace_keeps_the_colour_of_the_overlay_and_takes_the_name_of_its_caption(
    rerun: Any, tmp_path: Path
) -> None:
    stream = rerun.RecordingStream("test")
    stream.save(tmp_path / "two.rrd")
    log = rerun_log.RerunLog(rerun, stream)
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    labels = box(3, 4, 20, 30, label_of(2))
    trace = TraceSnapshot(2, 0, 5, True, 2, keypoints_at((1.0, 2.0), (3.0, 4.0)))
    outcome = FrameOutcome(Frame(5, image), Masks(5, "camera", labels, (2,)), (trace,), ())
    log.add_frame(outcome, {})
    log.add_frame(outcome._replace(frame=Frame(6, image)), {2: "a red ball"})
    log.close()
    entries = []
    for chunk in rerun.chunk.RrdReader(tmp_path / "two.rrd").store().stream():
        if str(chunk.entity_path) == "/scene":
            assert chunk.is_static, "the viewer takes no annotations that change in time"
            (column,) = [name for name in chunk.to_record_batch().schema.names if ":" in name]
            entries += chunk.to_record_batch().column(column).to_pylist()
    named = [[item["class_description"]["info"] for item in context] for (context,) in entries]
    two = [next(info for info in infos if info["id"] == label_of(2)) for infos in named]
    assert [info["label"] for info in two] == ["trace 2", "a red ball"]
    red, green, blue = colour_of(2)
    assert {info["color"] for info in two} == {(red << 24) + (green << 16) + (blue << 8) + 255}


def test_no_line_crosses_a_lifted_pen_or_a_lost_point() -> None:
    points = keypoints_at(*((float(x), 0.0) for x in range(8)))
    points.pen_up[3] = True
    points.lost[5] = True
    parts = [part[:, 0].tolist() for part in rerun_log.polylines(points)]
    assert parts == [[0, 1, 2], [3, 4], [6, 7]]
    assert rerun_log.polylines(keypoints_at((1.0, 1.0))) == []
    assert rerun_log.polylines(keypoints_at()) == []


def test_the_missing_sdk_is_one_line_that_names_the_extra(
    bag: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str, *rest: Any) -> Any:
        if name == "rerun":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return find(name, *rest)

    find = importlib.import_module
    monkeypatch.setattr(rerun_log.importlib, "import_module", absent)
    assert main(["view", str(bag)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "tracevlm_ros[view]" in error


def test_a_file_that_cannot_be_written_is_one_line(
    rerun: Any, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(bag), "--save", str(tmp_path / "none" / "one.rrd")]) == 1
    assert capsys.readouterr().err.startswith("tracevlm view: ")


def test_a_bag_or_a_running_graph_is_wanted_and_not_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([], ["bag", "--live"]):
        assert main(["view", *words]) == 1
        assert "either a BAG or --live" in capsys.readouterr().err


def test_a_viewer_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rerun's own message is of many lines and holds the whole PATH."""

    class Stream:
        def spawn(self, **_: object) -> None:
            raise RuntimeError("\nFailed to find Rerun Viewer executable.\n\nPATH='/bin:/usr/bin'")

    monkeypatch.setattr(view, "layout", lambda _rerun: None)
    rerun = SimpleNamespace(RecordingStream=lambda _name: Stream())
    with pytest.raises(InputError) as caught:
        view.open_stream(rerun, "clip", None)
    assert "Failed to find Rerun Viewer executable.; write a file with --save" in str(caught.value)
    assert "PATH" not in str(caught.value)
