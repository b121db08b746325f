import json
from pathlib import Path

import numpy as np
import pytest

from calibration.clock_file import read_offset, write_offset
from calibration.clock_offset import ClockOffset
from calibration.markers import Sighting
from calibration.target_motion import target_motion
from tests.calibration.marker_scenes import RATE_HZ, picture, write_gaze, write_video
from tests.calibration.test_camera_motion import turning_head
from tests.calibration.test_clock_offset import head_path
from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_build import header
from tracevlm_ros.ingest.message_types import message_class

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


def followed(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaze on the target at (320, 240) + ``head_path``, with noise and glances to one side."""
    glances = np.cumsum(rng.random(len(seconds)) < 0.01)
    aside = rng.uniform(-15, 15, (int(glances.max()) + 1, 2))
    return (320, 240) + head_path(seconds) + aside[glances] + rng.normal(0, 1.0, (len(seconds), 2))


@pytest.mark.parametrize("offset_ms", [-120.0, 35.0])
def test_a_marker_that_gaze_follows_tells_the_offset_within_five_milliseconds(
    offset_ms: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of the picture stands still: the camera's motion would tell nothing."""
    places = np.array([320, 240]) + head_path(np.arange(0, LENGTH_S, 1 / RATE_HZ))
    write_video(tmp_path / "scene.mp4", (picture([(4, x, y)]) for x, y in places))
    seconds = np.arange(0.3, LENGTH_S - 0.3, 0.01)
    gaze_px = followed(seconds, np.random.default_rng(2))
    write_gaze(tmp_path / "gaze.csv", seconds - offset_ms / 1e3, gaze_px)
    files = (tmp_path / "scene.mp4", tmp_path / "gaze.csv")
    marker = ["--marker", "aruco_4x4_50", "--json"]
    assert main(words(files, tmp_path / "clock.yaml", *marker)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offset_ms"] == pytest.approx(offset_ms, abs=5)
    assert found["correlation"] > 0.8


def write_followed_bag(path: Path, offset_ms: float) -> Path:
    """One blank image, a target at 30 Hz on /target, gaze that follows it on /gaze."""
    with BagWriter(path) as bag:
        point = message_class("geometry_msgs/msg/PointStamped")
        place = message_class("geometry_msgs/msg/Point")
        image = message_class("sensor_msgs/msg/Image")
        pixels = np.zeros(48 * 64 * 3, np.uint8)
        at = header(1_000_000_000, "camera")
        bag.write("/image", image(at, 48, 64, "rgb8", 0, 3 * 64, pixels), 1_000_000_000)
        seconds = np.arange(0.3, 20.0, 0.01)
        gaze_px = followed(seconds, np.random.default_rng(3))
        events = [
            ("/gaze", s - offset_ms / 1e3, xy) for s, xy in zip(seconds, gaze_px, strict=True)
        ]
        shown = np.arange(0, 20.5, 1 / 30)
        events += [("/target", s, (320, 240) + head_path(np.array([s]))[0]) for s in shown]
        for topic, second, (x, y) in sorted(events, key=lambda event: event[1]):
            stamp_ns = 1_000_000_000 + round(second * 1e9)
            message = point(header(stamp_ns, "camera"), place(float(x), float(y), 0.0))
            bag.write(topic, message, stamp_ns)
    return path


def test_a_topic_of_the_target_tells_the_offset_within_five_milliseconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_followed_bag(tmp_path / "bag", 90.0)
    topics = ["--gaze-topic", "/gaze", "--target-topic", "/target", "--json"]
    command = ["calibrate", "clock", "--bag", str(bag), "--output", str(tmp_path / "clock.yaml")]
    assert main([*command, *topics]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offset_ms"] == pytest.approx(90.0, abs=5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["--marker", "aruco_7x7_1000"], "no target was seen"),
        (["--marker", "qr"], "marker family is 'qr'"),
        (["--target-topic", "/target"], "is a topic of a bag"),
    ],
)
def test_a_target_that_cannot_be_read_is_told(
    turning: tuple[Path, Path], target: list[str], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(words(turning, tmp_path / "clock.yaml", *target)) == 1
    assert message in capsys.readouterr().err


def test_the_target_that_is_seen_most_often_is_followed() -> None:
    sightings = [Sighting(30, 7, 3.0, 0.0), Sighting(10, 7, 1.0, 0.0), Sighting(20, 2, 9.0, 9.0)]
    motion = target_motion(sightings)
    assert motion.stamp_ns.tolist() == [10, 30]
    assert motion.xy_px.tolist() == [[1.0, 0.0], [3.0, 0.0]]


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
