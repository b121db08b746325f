"""``tracevlm evaluate`` as it is typed."""

import json
import os
from pathlib import Path

import pytest

from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
FAST = ["--model", "fake", "--no-java"]


def test_a_folder_with_a_broken_bag_gives_a_report_and_names_the_broken_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bags" / "good")
    (tmp_path / "bags" / "bad").mkdir()
    (tmp_path / "bags" / "bad" / "bad_0.mcap").write_bytes(b"no bag at all")
    out = tmp_path / "out"
    status = main(["evaluate", str(tmp_path / "bags"), "--report", str(out), *FAST, "--json"])
    printed = capsys.readouterr()
    assert status == 0
    assert "bad_0: " in printed.err
    document = json.loads(printed.out)
    errors = {one["name"]: one["error"] for one in document["recordings"]}
    assert errors["good"] is None and errors["bad_0"]
    assert document == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (out / "good" / "predictions.jsonl").is_file()
    assert (out / "good" / "bag" / "metadata.yaml").is_file()


def test_the_status_is_not_zero_when_nothing_could_be_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.mcap").write_bytes(b"")
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path / "empty.mcap"), "--report", str(out), *FAST]) == 1
    assert "0 bytes" in capsys.readouterr().err
    assert (out / "report.html").is_file()


def test_an_overlay_video_and_a_comparison_are_made_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "one")
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["evaluate", str(bag), "--report", str(first), *FAST]) == 0
    compare = ["--compare", str(first / "report.json"), "--overlay", "--no-predictions"]
    assert main(["evaluate", str(bag), "--report", str(second), *FAST, *compare]) == 0
    capsys.readouterr()
    assert (second / "one" / "overlay.mp4").stat().st_size > 1000
    page = (second / "report.html").read_text(encoding="utf-8")
    assert "Against the other run" in page
    assert 'href="one/overlay.mp4"' in page
    assert not (second / "one" / "predictions.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--report", "out"], "give bags, or --video"),
        (["a", "--video", "b", "--gaze", "c", "--report", "out"], "not both"),
        (["--video", "b", "--report", "out"], "belong together"),
        (["a", "b", "--recorded", "c", "--report", "out"], "2 were given"),
        (["a", "--report", "."], "is not empty"),
        (["a", "--report", "out", "--compare", "absent.json"], "absent.json"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    words: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "something").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words]) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_real_clip_with_real_gaze_runs_without_ground_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = DATA / "gaze" / "tobii_glasses_video"
    if not clip.is_dir():
        pytest.skip(f"{clip} is absent; it is not part of the project")
    status = main(
        ["evaluate", "--video", str(clip / "worldCamera.mp4"),
         "--gaze", str(clip / "gazeData_world.tsv"),
         "--report", str(tmp_path / "out"), *FAST, "--no-predictions", "--json"]
    )  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert status == 0
    assert document["figures"]["frames"]["value"] >= 45
    assert document["figures"]["traces"]["value"] >= 1
    assert "no ground truth captions" in document["left_out"]["CIDEr-D"]
