import json
from pathlib import Path

import numpy as np
import pytest

from calibration.clock_file import read_offset, write_offset
from calibration.clock_offset import ClockOffset
from tests.calibration.marker_scenes import RATE_HZ, write_gaze, write_video
from tests.calibration.test_camera_motion import turning_head
from tests.calibration.test_clock_offset import head_path
from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError

LENGTH_S = 10.0
OFFSET_MS = 70.0


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A real video file of a head that turns, and gaze whose clock is 70 ms behind."""
    folder = tmp_path_factory.mktemp("turning")
    frames = turning_head(np.arange(0, LENGTH_S, 1 / RATE_HZ))
    write_video(folder / "scene.mp4", (frame.image_rgb for frame in frames), (240, 320))
    seconds = np.arange(0.3, LENGTH_S - 0.3, 0.01)
    noise = np.random.default_rng(1).normal(0, 0.5, (len(seconds), 2))
    gaze_px = 160 + 0.4 * head_path(seconds) + noise
    write_gaze(folder / "gaze.csv", seconds - OFFSET_MS / 1e3, gaze_px)
    return folder / "scene.mp4", folder / "gaze.csv"


def words(turning: tuple[Path, Path], output: Path, *more: str) -> list[str]:
    video, gaze = map(str, turning)
    return ["calibrate", "clock", "--video", video, "--gaze", gaze, "--gaze-is-video-time",
            "--output", str(output), *more]  # fmt: skip


def test_the_offset_of_a_video_and_its_gaze_is_found_and_can_be_applied(
    turning: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(turning, tmp_path / "clock.yaml", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offset_ms"] == pytest.approx(OFFSET_MS, abs=5)
    assert found["correlation"] > 0.8
    assert read_offset(tmp_path / "clock.yaml").offset_ns / 1e6 == found["offset_ms"]
    applied = ["--gaze-offset-ms", str(found["gaze_offset_ms"]), "--json"]
    assert main(words(turning, tmp_path / "again.yaml", *applied)) == 0
    rest = json.loads(capsys.readouterr().out)
    assert rest["offset_ms"] == pytest.approx(0, abs=2)
    assert rest["gaze_offset_ms"] == pytest.approx(OFFSET_MS, abs=5)


def test_a_person_is_told_how_to_use_it_and_that_drift_is_unknown(
    turning: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(turning, tmp_path / "clock.yaml")) == 0
    text = capsys.readouterr().out
    assert "--gaze-offset-ms" in text
    assert "unknown: 1 window(s)" in text


def test_a_bag_whose_gaze_wanders_by_itself_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", seconds=3.0)
    output = tmp_path / "clock.yaml"
    assert main(["calibrate", "clock", "--bag", str(bag), "--output", str(output)]) == 1
    assert "do not agree" in capsys.readouterr().err
    assert not output.exists()


def test_a_written_offset_reads_back_the_same_and_damage_is_refused(tmp_path: Path) -> None:
    offset = ClockOffset(offset_ns=-5, drift_ppm=1.5, start_ns=9, correlation=0.9, windows=4)
    path = tmp_path / "clock.yaml"
    write_offset(path, offset, {"source": "test"})
    assert read_offset(path) == offset
    for text, message in (
        ("a: 1", "no clock offset"),
        ("format: tracevlm clock offset\nversion: 7", "version 7"),
        ("format: tracevlm clock offset\nversion: 1", "lacks or garbles 'offset_ns'"),
        ("a: [", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_offset(path)
