import json
from pathlib import Path

import cv2
import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.cli.main import main
from training.data.readers.splits import read_excluded


def test_info_counts_a_data_set_as_json(tmp_path: Path, capsys) -> None:
    path = tiny_sets.narratives(tmp_path)
    assert main(["data", "info", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["form"] == "localized narratives"
    assert found["split"] == "train"
    assert (found["records"], found["usable"]) == (10, 4)
    assert found["narratives"]["points"] == 36
    assert found["decoded"]["samples_by_task"]["trace_caption"] == 3
    assert found["drops"]["picture_damaged"] == 1
    assert found["drops"]["narrative_empty"] == 1


@pytest.mark.parametrize(
    "make",
    [
        tiny_sets.video_narratives,
        tiny_sets.instances,
        tiny_sets.captions,
        tiny_sets.refcoco,
        tiny_sets.panoptic,
        tiny_sets.davis,
        tiny_sets.hc_stvg,
        tiny_sets.video_refer,
    ],
)
def test_every_form_is_counted_and_shown(tmp_path: Path, capsys, make) -> None:
    path, target = make(tmp_path), tmp_path / "sheet.png"
    assert main(["data", "info", str(path)]) == 0
    said = capsys.readouterr().out
    assert "samples_by_task" in said
    assert main(["data", "sheet", str(path), "--out", str(target), "--tile", "80"]) == 0
    picture = cv2.imread(str(target))
    assert picture is not None
    assert picture.shape[1] % 80 == 0
    assert len(set(picture.reshape(-1).tolist())) > 10


def test_the_sheet_shows_synthetic_scenes_too(tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    words = ["data", "sheet", "synthetic:5", "--count", "3", "--columns", "2", "--tile", "100"]
    assert main([*words, "--out", str(target)]) == 0
    assert cv2.imread(str(target)).shape[1] == 200


def test_training_mode_refuses_held_out_data_in_one_line(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "photos_dev"
    tiny_sets.instances(tmp_path).parent.rename(folder)
    assert main(["data", "info", str(folder), "--training"]) == 1
    assert "held out (dev)" in capsys.readouterr().err
    assert main(["data", "info", "synthetic:1000000", "--training"]) == 1
    assert main(["data", "info", str(folder)]) == 0


def test_the_list_of_excluded_images_is_written_and_used(tmp_path: Path, capsys) -> None:
    folder, ids = tiny_sets.refcoco(tmp_path), tmp_path / "ids.txt"
    assert main(["data", "info", str(folder), "--export-test-images", str(ids)]) == 0
    assert read_excluded(ids) == {3}
    ids.write_text("1\n")
    capsys.readouterr()
    assert main(["data", "info", str(folder), "--exclude", str(ids), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["drops"]["image_excluded"] == 1
    other = str(tiny_sets.captions(tmp_path))
    assert main(["data", "info", other, "--export-test-images", str(ids)]) == 1


@pytest.mark.parametrize("words", [["gone.jsonl"], ["synthetic:x"], ["."]])
def test_wrong_paths_are_one_clear_line(tmp_path: Path, capsys, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "info", *words]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["data", "sheet", *words, "--out", "x.png"]) == 1


def test_a_sheet_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys) -> None:
    path = tiny_sets.captions(tmp_path)
    assert main(["data", "sheet", str(path), "--out", str(tmp_path / "no" / "x.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err
