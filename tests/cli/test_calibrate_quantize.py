import json
from pathlib import Path

import numpy as np
import pytest

from calibration.quantisation_set import read_set
from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main

SIZES = ["--image-size", "48x64", "--max-keypoints", "16"]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for seed in (3, 4):
        write_bag(folder / f"bag_{seed}", seed=seed, seconds=3.0)
    return folder


def test_samples_of_several_bags_are_written_and_are_the_same_every_time(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "quantize", str(bags), "--count", "6", "--every-ms", "200", *SIZES]
    for name in ("first", "second"):
        assert main([*words, "--output", str(tmp_path / name), "--json"]) == 0
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert figures[0] == figures[1]
    assert figures[0]["count"] == 6 < figures[0]["candidates"]
    found = read_set(tmp_path / "first")
    assert found.frames.shape == (6, 48, 64, 3)
    assert all(1 <= len(prompt.points) <= 16 for prompt in found.prompts)
    assert {sample["source"] for sample in found.manifest["samples"]} == {"bag_3", "bag_4"}
    again = read_set(tmp_path / "second")
    np.testing.assert_array_equal(found.frames, again.frames)
    assert found.manifest["samples"] == again.manifest["samples"]
    assert found.manifest["sha256"]["frames.npy"] == again.manifest["sha256"]["frames.npy"]


def test_a_broken_bag_is_named_and_the_rest_is_used(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no bag at all")
    out = tmp_path / "set"
    words = ["calibrate", "quantize", str(broken), str(bags / "bag_3"), "--output", str(out)]
    assert main([*words, *SIZES]) == 0
    printed = capsys.readouterr()
    assert "broken.mcap" in printed.err
    assert "fewer than the 256 asked for" in printed.out
    assert read_set(out).manifest["selection"]["not_read_to_the_end"] == [str(broken)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-size", "48"], "--image-size is '48'"),
        (["--count", "0", *SIZES], "--count is 0"),
        (["--gaze-topic", "/none", *SIZES], "no bag gave a frame"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_picked_from_is_said(
    bags: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "set"
    words = ["calibrate", "quantize", str(bags / "bag_3"), "--output", str(out), *arguments]
    assert main(words) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_set_that_exists_is_kept(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "quantize", str(bags / "bag_3"), "--output", str(tmp_path), *SIZES]
    assert main(words) == 1
    assert "not overwritten" in capsys.readouterr().err
