"""``tracevlm evaluate`` on data sets, in real time, of a recorded graph, and with a judge."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.adapters.tiny_sets import (
    write_davis,
    write_hc_stvg,
    write_instances,
    write_narratives,
    write_refcoco,
    write_video_narratives,
    write_videorefer,
)
from tests.evaluation.metrics.judge_endpoint import serving
from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main
from tracevlm_ros.evaluation.adapters.datasets import DATASETS
from tracevlm_ros.evaluation.evaluate import IN_REAL_TIME, LIVE

FAST = ["--model", "fake", "--no-java", "--json"]
WRITERS: dict[str, Callable[[Path], Path]] = {
    "davis": write_davis,
    "coco-instances": write_instances,
    "localized-narratives": write_narratives,
    "video-localized-narratives": write_video_narratives,
    "refcoco": write_refcoco,
    "hc-stvg": write_hc_stvg,
    "videorefer": write_videorefer,
}
RECORDINGS = {"localized-narratives": 2, "video-localized-narratives": 3}
WITH_MASKS = {"davis", "coco-instances"}


def evaluated(
    capsys: pytest.CaptureFixture[str], out: Path, *words: object, status: int = 0
) -> dict[str, Any]:
    found = main(["evaluate", *map(str, words), "--report", str(out), *FAST])
    printed = capsys.readouterr()
    assert found == status, printed.err
    document: dict[str, Any] = json.loads(printed.out)
    return document


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_is_scored_by_what_it_holds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = WRITERS[name](tmp_path / "set")
    document = evaluated(capsys, tmp_path / "out", folder, "--dataset", name)
    recordings, figures = document["recordings"], document["figures"]
    assert len(recordings) == RECORDINGS.get(name, 1)
    assert [one["error"] for one in recordings] == [None] * len(recordings)
    assert ("j_mean" in figures) == (name in WITH_MASKS)
    if name in WITH_MASKS:
        assert figures["j_mean"]["value"] > 0
    if name == "davis":
        assert document["left_out"]["CIDEr-D"] == "no ground truth captions"
        return
    assert figures["described"]["value"] == 1.0
    said = [caption for one in recordings for caption in one["captions"]]
    assert len(said) == len(recordings) and all(caption["said"] for caption in said)
    assert (tmp_path / "out" / recordings[0]["name"] / "predictions.jsonl").is_file()


def test_a_folder_that_is_no_such_data_set_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(tmp_path), "--dataset", "davis", "--report", str(tmp_path / "out")]
    assert main([*words, "--model", "fake"]) == 1
    error = capsys.readouterr().err
    assert "strokes.json" in error and error.count("\n") == 1


def test_in_real_time_a_bag_takes_its_own_time_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", seconds=2.0)
    document = evaluated(capsys, tmp_path / "out", bag, "--realtime")
    (recording,) = document["recordings"]
    assert document["kinds"] == [IN_REAL_TIME]
    assert recording["error"] is None
    assert recording["wall_s"] > 1.7, "played faster than it was recorded"
    dropped = recording["drops"].get("frame_not_processed", 0)
    assert document["figures"]["frames"]["value"] == 20 - dropped


def test_what_a_graph_answered_is_scored_from_its_bag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", seconds=2.0)
    replayed = evaluated(capsys, tmp_path / "replay", bag)
    answers = tmp_path / "replay" / "bag" / "bag"
    document = evaluated(capsys, tmp_path / "out", bag, "--recorded", answers)
    assert document["kinds"] == [LIVE] and document["models"] == ["fake"]
    for key in ("j_mean", "described", "frames"):
        assert document["figures"][key] == replayed["figures"][key]


def test_a_bag_of_other_answers_is_told_and_the_status_is_not_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", seconds=1.0)
    words = ["evaluate", str(bag), "--recorded", str(bag), "--report", str(tmp_path / "out")]
    assert main([*words, *FAST]) == 1
    assert "neither /tracevlm/captions" in capsys.readouterr().err


def test_a_judge_marks_every_caption_and_its_means_are_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_narratives(tmp_path / "set")
    with serving() as judge:
        document = evaluated(
            capsys, tmp_path / "out", folder, "--dataset", "localized-narratives",
            "--judge", judge.url, "--judge-model", "some-model",
        )  # fmt: skip
    assert [request["model"] for request in judge.requests] == ["some-model"] * 2
    asked = [request["messages"][1]["content"] for request in judge.requests]
    assert "a red square" in asked[0] and "a sign on a dark wall" in asked[1]
    assert document["figures"]["judge_subject"]["value"] == 4.0
    assert document["figures"]["judge_hallucination"]["value"] == 5.0


def test_a_judge_that_refuses_leaves_its_marks_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_instances(tmp_path / "set")
    with serving() as judge:
        judge.replies = [401]
        document = evaluated(
            capsys, tmp_path / "out", folder, "--dataset", "coco-instances",
            "--judge", judge.url, "--judge-model", "m",
        )  # fmt: skip
    reasons = [why for name, why in document["left_out"].items() if "judge" in name]
    assert reasons and "HTTP 401" in reasons[0]
    assert not any(key.startswith("judge_") for key in document["figures"])
