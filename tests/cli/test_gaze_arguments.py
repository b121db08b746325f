"""``--gaze-calibration`` and ``--gaze-offset-ms`` of ``run`` and ``evaluate``."""

import argparse
import json
from pathlib import Path

import pytest

from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli import run
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.gaze_mapping import GazeMapping, write_mapping

FAST = ["--model", "fake", "--no-java"]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bag") / "one")


@pytest.fixture
def right(tmp_path: Path) -> Path:
    """A calibration that moves gaze by a tenth of the image to the right."""
    path = tmp_path / "right.yaml"
    write_mapping(path, GazeMapping(model="affine", parameters=(0.1, 0, 1, 0, 0, 1)), {})
    return path


def predictions(bag: Path, report: Path, *arguments: str) -> list[dict]:
    assert main(["evaluate", str(bag), "--report", str(report), *FAST, *arguments]) == 0
    lines = (report / "one" / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def first_trace(lines: list[dict]) -> dict:
    """Start and first place of the first trace that shows."""
    first = next(line["traces"][0] for line in lines if line["traces"])
    return {"start_ns": first["start_ns"], "x_px": first["keypoints_px"][0][0]}


def test_evaluate_moves_gaze_by_the_calibration_and_its_stamps_by_the_offset(
    bag: Path, right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = predictions(bag, tmp_path / "plain")
    assert predictions(bag, tmp_path / "same", "--gaze-offset-ms", "0") == plain
    moved = predictions(bag, tmp_path / "moved", "--gaze-calibration", str(right))
    late = predictions(bag, tmp_path / "late", "--gaze-offset-ms", "300")
    before, after = first_trace(plain), first_trace(moved)
    assert after["x_px"] - before["x_px"] == pytest.approx(12.8, abs=3)
    assert first_trace(late)["start_ns"] - before["start_ns"] == pytest.approx(300e6, abs=60e6)


def test_evaluate_refuses_them_for_what_was_recorded(
    bag: Path, right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(bag), "--recorded", str(bag), "--report", str(tmp_path / "out")]
    assert main([*words, "--gaze-calibration", str(right)]) == 1
    assert "leave them out" in capsys.readouterr().err


def test_a_calibration_that_is_none_stops_evaluate(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("a: 1")
    words = ["evaluate", str(bag), "--report", str(tmp_path / "out"), *FAST]
    assert main([*words, "--gaze-calibration", str(tmp_path / "bad.yaml")]) == 1
    assert "no gaze calibration" in capsys.readouterr().err


def test_run_hands_them_to_the_node(right: Path) -> None:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    words = ["--bag", "b", "--gaze-calibration", str(right), "--gaze-offset-ms", "40"]
    given = run._parameters(parser.parse_args(words), "gaze_sample")
    assert given["gaze_calibration"] == str(right)
    assert given["pipeline.gaze_offset_ms"] == 40.0
    with pytest.raises(InputError, match="cannot be read"):
        missing = ["--bag", "b", "--gaze-calibration", "missing.yaml"]
        run._parameters(parser.parse_args(missing), "gaze_sample")
