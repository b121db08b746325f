"""An input bag and an output bag, joined."""

from pathlib import Path

import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tests.evaluation.scenes import MS, box, caption_at, masks_at, trace_at, write_bag
from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.evaluate import EvaluationConfig, evaluate_bag, evaluate_recorded
from tracevlm_ros.evaluation.figures import make_figures
from tracevlm_ros.evaluation.ground_truth import label_pixels
from tracevlm_ros.evaluation.outcome import CaptionBoard, SpokenCaption
from tracevlm_ros.evaluation.recorded import recorded_outcomes
from tracevlm_ros.evaluation.recording import BagTopics
from tracevlm_ros.evaluation.ros_messages import (
    caption_message,
    masks_message,
    spoken_caption,
    trace_message,
    trace_snapshot,
)
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import BagWriter


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "one", seconds=3.0)


def test_a_recorded_run_scores_like_the_replay_that_wrote_it(bag: Path, tmp_path: Path) -> None:
    config = EvaluationConfig()
    replayed = evaluate_bag(bag, "one", FakeEngine(), config, tmp_path / "replay")
    recorded = evaluate_recorded(
        bag, tmp_path / "replay" / "bag", "one", config, tmp_path / "recorded"
    )
    assert recorded.error is None
    assert recorded.model_id == "fake"
    ours = make_figures(recorded.samples, with_java=False).values()
    theirs = make_figures(replayed.samples, with_java=False).values()
    same = {key for key in theirs if not key.startswith(("step_ms", "describe_ms"))}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_frames_that_got_no_masks_and_captions_of_no_frame_are_counted(
    bag: Path, tmp_path: Path
) -> None:
    evaluate_bag(bag, "one", FakeEngine(), EvaluationConfig(), tmp_path / "replay")
    thinned = tmp_path / "thinned"
    seen = 0
    with BagReader(tmp_path / "replay" / "bag") as source, BagWriter(thinned) as target:
        for record in source.records():
            seen += record.topic == "/tracevlm/masks"
            if record.topic != "/tracevlm/masks" or seen % 3:
                target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
        target.write("/tracevlm/captions", caption_message(caption_at(77)), 10**18 * 2)
    drops = Drops()
    with BagReader(bag) as played, BagReader(thinned) as recorded:
        outcomes = list(recorded_outcomes(played, recorded, BagTopics(), drops))
    assert sum(outcome.masks is None for outcome in outcomes) == 10
    assert drops["frame_without_masks"] == 10
    assert drops["caption_without_frame"] == 1


def test_bags_that_do_not_belong_together_are_refused(bag: Path, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "other") as target:
        target.write("/tracevlm/captions", caption_message(caption_at(77)), 5)
    with (
        BagReader(bag) as played,
        BagReader(tmp_path / "other") as recorded,
        pytest.raises(InputError, match="no stamp"),
    ):
        list(recorded_outcomes(played, recorded, BagTopics(), Drops()))
    with (
        BagReader(bag) as played,
        pytest.raises(InputError, match="neither /tracevlm/captions"),
    ):
        list(recorded_outcomes(played, played, BagTopics(), Drops()))


def shifted_gaze(bag: Path, folder: Path, by_ns: int) -> Path:
    """The same recording with gaze stamped by another clock."""
    with BagReader(bag) as source, BagWriter(folder) as target:
        for record in source.records():
            if record.topic != "/gaze":
                target.write_raw(record.topic, record.msgtype, record.log_ns, record.raw)
                continue
            message = record.decode()
            message.header.stamp.sec += by_ns // 10**9
            target.write(record.topic, message, record.log_ns)
    return folder


def test_gaze_of_another_clock_is_one_error_with_the_remedy_and_nothing_is_scored(
    bag: Path, tmp_path: Path
) -> None:
    apart = shifted_gaze(bag, tmp_path / "apart", 3600 * 10**9)
    evaluate_bag(apart, "one", FakeEngine(), EvaluationConfig(), tmp_path / "replay")
    result = evaluate_recorded(
        apart, tmp_path / "replay" / "bag", "one", EvaluationConfig(), tmp_path / "recorded"
    )
    assert result.error is not None
    assert "never overlap" in result.error
    assert "pipeline.gaze_offset_ms" in result.error
    assert "\n" not in result.error
    assert result.samples.frames == 0


def test_gaze_that_the_graph_shifted_itself_is_scored(bag: Path, tmp_path: Path) -> None:
    apart = shifted_gaze(bag, tmp_path / "apart", 10 * 10**9)
    shift = EvaluationConfig(pipeline=PipelineConfig(gaze_offset_ms=-10_000.0))
    evaluate_bag(apart, "one", FakeEngine(), shift, tmp_path / "replay")
    result = evaluate_recorded(
        apart, tmp_path / "replay" / "bag", "one", EvaluationConfig(), tmp_path / "recorded"
    )
    assert result.error is None
    assert result.samples.frames == 30


def test_messages_carry_everything_there_and_back() -> None:
    spoken = SpokenCaption(caption_at(123_456_789_012).caption, 5, 6, 7)
    back = spoken_caption(caption_message(spoken))
    assert back._replace(caption=None) == spoken._replace(caption=None)
    plain = [one.caption._replace(keypoints=None) for one in (spoken, back)]
    assert plain[0] == plain[1]
    for ours, theirs in zip(spoken.caption.keypoints, back.caption.keypoints, strict=True):
        assert ours.dtype == theirs.dtype and (ours == theirs).all()
    trace = trace_at(4, 10, 20, (1.25, 2.5), (np.nan, 3.0))
    again = trace_snapshot(trace_message(trace, 30, "camera"))
    assert again._replace(keypoints=None) == trace._replace(keypoints=None)
    assert np.array_equal(again.keypoints.xy_px, trace.keypoints.xy_px, equal_nan=True)


def test_labels_above_255_survive_the_message() -> None:
    labels = box(3, 4, 20, 30, 40_000) + box(30, 4, 40, 30, 1)
    assert (label_pixels(masks_message(masks_at(5, labels))) == labels).all()


def test_a_caption_shows_only_once_it_was_published() -> None:
    board = CaptionBoard()
    board.add([caption_at(100 * MS, published_ns=250 * MS), caption_at(100 * MS, 2, "early")])
    assert board.texts_at(100 * MS, [1, 2]) == {2: "early"}
    assert board.texts_at(200 * MS, [1, 2]) == {2: "early"}
    assert board.texts_at(300 * MS, [1]) == {1: "a red ball"}
