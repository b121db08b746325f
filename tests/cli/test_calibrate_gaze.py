import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.markers import FAMILIES
from tests.calibration.marker_scenes import (
    PLACES,
    RATE_HZ,
    SIZE_HW,
    gaze_of_a_skewed_tracker,
    picture,
    write_gaze,
    write_video,
)
from tracevlm_ros.cli.calibrate_gaze import _intrinsics
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.gaze_mapping import GazeMapping, read_mapping
from tracevlm_ros.core.types import Image
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_build import header
from tracevlm_ros.ingest.message_types import message_class

GAZE_HZ = 100
DWELL_S = 0.7


def looks_in_turn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, GazeMapping]:
    """Gaze on every marker of PLACES in turn, a fifth of it astray."""
    seconds = np.arange(0, len(PLACES) * DWELL_S, 1 / GAZE_HZ)
    looked = np.array([PLACES[int(second / DWELL_S)] for second in seconds])
    said, mapping = gaze_of_a_skewed_tracker(looked, rng)
    astray = rng.random(len(seconds)) < 0.2
    said[astray] = rng.uniform((0, 0), SIZE_HW[::-1], (int(astray.sum()), 2))
    return seconds, said, mapping


def worst_px(path: Path, wanted: GazeMapping) -> float:
    """How far the calibration is from the truth over the middle of the image."""
    y, x = np.meshgrid(np.linspace(0.15, 0.85, 5), np.linspace(0.15, 0.85, 5))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    difference = (read_mapping(path).apply(points) - wanted.apply(points)) * SIZE_HW[::-1]
    return float(np.linalg.norm(difference, axis=1).max())


def calibrate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    status = main(["calibrate", "gaze", "--json", *map(str, arguments)])
    output = capsys.readouterr()
    assert status == 0, output.err
    return json.loads(output.out)


@pytest.fixture(scope="module")
def markers_in_turn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, GazeMapping]:
    folder = tmp_path_factory.mktemp("markers")
    image = picture((number, x, y) for number, (x, y) in enumerate(PLACES))
    write_video(folder / "scene.mp4", [image] * round(len(PLACES) * DWELL_S * RATE_HZ + 1))
    seconds, said, mapping = looks_in_turn(np.random.default_rng(0))
    write_gaze(folder / "gaze.csv", seconds, said)
    return folder / "scene.mp4", folder / "gaze.csv", mapping


def test_nine_markers_looked_at_in_turn_give_the_tracker_s_error(
    markers_in_turn: tuple[Path, Path, GazeMapping],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video, gaze, wanted = markers_in_turn
    output = tmp_path / "gaze.yaml"
    found = calibrate(
        capsys, "--video", video, "--gaze", gaze, "--gaze-is-video-time", "--focal-px", 500,
        "--output", output,
    )  # fmt: skip
    assert found["targets"] == 9
    assert found["cross_validated"]
    assert found["bias_px"] > 10
    assert found["accuracy_px"] < 3
    assert found["accuracy_deg"] == pytest.approx(np.degrees(found["accuracy_px"] / 500), rel=0.3)
    assert worst_px(output, wanted) < 3
    residuals = cv2.imread(str(output.with_suffix(".png")))
    assert residuals.shape == (900 + 84, 1200, 3)


def test_one_marker_carried_through_the_view_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = np.arange(0, 16, 1 / RATE_HZ)
    corners = np.array([PLACES[i] for i in (0, 2, 5, 3, 6, 8)])
    at = np.linspace(0, 16, len(corners))

    def place(second: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(second, at, corners[:, axis]) for axis in (0, 1)], axis=1)

    write_video(tmp_path / "scene.mp4", (picture([(4, x, y)]) for x, y in place(seconds)))
    gaze_s = np.arange(0, 15.9, 1 / GAZE_HZ)
    said, wanted = gaze_of_a_skewed_tracker(place(gaze_s), np.random.default_rng(1))
    write_gaze(tmp_path / "gaze.csv", gaze_s, said)
    found = calibrate(
        capsys, "--video", tmp_path / "scene.mp4", "--gaze", tmp_path / "gaze.csv",
        "--gaze-is-video-time", "--output", tmp_path / "gaze.yaml",
    )  # fmt: skip
    assert found["targets"] >= 12
    assert found["accuracy_deg"] is None
    assert worst_px(tmp_path / "gaze.yaml", wanted) < 4


def test_clicked_points_serve_where_there_are_no_markers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, said, wanted = looks_in_turn(np.random.default_rng(2))
    write_video(tmp_path / "scene.mp4", [picture([])] * 15)
    write_gaze(tmp_path / "gaze.csv", seconds, said)
    rows = [f"{i * DWELL_S},{(i + 1) * DWELL_S},{x},{y}" for i, (x, y) in enumerate(PLACES)]
    (tmp_path / "points.csv").write_text("\n".join(["start_s,end_s,x_px,y_px", *rows]))
    found = calibrate(
        capsys, "--video", tmp_path / "scene.mp4", "--gaze", tmp_path / "gaze.csv",
        "--points", tmp_path / "points.csv", "--output", tmp_path / "gaze.yaml",
    )  # fmt: skip
    assert found["targets"] == 9
    assert worst_px(tmp_path / "gaze.yaml", wanted) < 4


def stamped(second: float) -> Any:
    return header(1_000_000_000 + round(second * 1e9), "camera")


def write_image(bag: BagWriter, second: float, image: Image) -> None:
    height, width = image.shape[:2]
    message = message_class("sensor_msgs/msg/Image")(
        stamped(second), height, width, "rgb8", 0, 3 * width, image.reshape(-1)
    )
    bag.write("/camera/image", message, 1_000_000_000 + round(second * 1e9))


def write_camera_info(
    bag: BagWriter, size_hw: tuple[int, int] = SIZE_HW, corner: tuple[int, int] = (0, 0)
) -> None:
    """Of a sensor of ``size_hw``, of which the images show what lies right of and below ``corner``
    (x, y); all of it by default."""
    x, y = corner
    part = (*SIZE_HW, False) if any(corner) else (0, 0, False)
    roi = message_class("sensor_msgs/msg/RegionOfInterest")(x, y, *part)
    camera = np.array([500.0, 0, 319.5 + x, 0, 500, 239.5 + y, 0, 0, 1])
    info = message_class("sensor_msgs/msg/CameraInfo")(
        stamped(0.0), *size_hw, "", np.zeros(0), camera, np.eye(3).ravel(), np.zeros(12), 0, 0, roi
    )
    bag.write("/camera/camera_info", info, 1_000_000_000)


def write_points(bag: BagWriter, events: Iterable[tuple[float, str, Any]]) -> None:
    """(second, topic, (x, y)) as PointStamped, by time."""
    point, place = (message_class(f"geometry_msgs/msg/{n}") for n in ("PointStamped", "Point"))
    for second, topic, (x, y) in sorted(events, key=lambda event: event[0]):
        message = point(stamped(second), place(float(x), float(y), 0.0))
        bag.write(topic, message, 1_000_000_000 + round(second * 1e9))


def write_bag(path: Path, rng: np.random.Generator) -> GazeMapping:
    """One blank image, targets at 10 Hz on /target, gaze on /gaze, and the camera."""
    seconds, said, mapping = looks_in_turn(rng)
    with BagWriter(path) as bag:
        write_image(bag, 0.0, picture([]))
        write_camera_info(bag)
        events = [(second, "/gaze", xy) for second, xy in zip(seconds, said, strict=True)]
        events += [
            (second, "/target", PLACES[int(second / DWELL_S)])
            for second in np.arange(0, len(PLACES) * DWELL_S, 0.1)
        ]
        write_points(bag, events)
    return mapping


def test_april_tags_in_the_images_of_a_bag_are_targets_and_its_camera_gives_degrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = [(number, x, y) for number, (x, y) in enumerate(PLACES)]
    image = picture(tags, family="apriltag_36h11")
    seconds, said, wanted = looks_in_turn(np.random.default_rng(5))
    with BagWriter(tmp_path / "bag") as bag:
        for second in np.arange(0, len(PLACES) * DWELL_S, 0.2):
            write_image(bag, float(second), image)
        write_camera_info(bag)
        write_points(bag, [(s, "/gaze", xy) for s, xy in zip(seconds, said, strict=True)])
    found = calibrate(
        capsys, "--bag", tmp_path / "bag", "--marker", "apriltag_36h11",
        "--output", tmp_path / "gaze.yaml",
    )  # fmt: skip
    assert found["targets"] == 9
    assert found["accuracy_deg"] is not None and found["accuracy_deg"] < 0.5
    assert worst_px(tmp_path / "gaze.yaml", wanted) < 4


def board_at(x: float, y: float) -> Image:
    """A ChArUco board of 5 x 4 squares with its middle at (x, y)."""
    dictionary = cv2.aruco.getPredefinedDictionary(FAMILIES["aruco_5x5_50"])
    sheet = cv2.aruco.CharucoBoard((5, 4), 1.0, 0.7, dictionary).generateImage((150, 120))
    canvas = np.full(SIZE_HW, 200, np.uint8)
    left, top = round(x - 74.5), round(y - 59.5)
    canvas[top : top + 120, left : left + 150] = sheet
    return np.repeat(canvas[:, :, None], 3, axis=2)


def test_a_charuco_board_that_is_carried_about_is_one_target_at_each_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, said, wanted = looks_in_turn(np.random.default_rng(6))
    with BagWriter(tmp_path / "bag") as bag:
        for second in np.arange(0, len(PLACES) * DWELL_S, 1 / RATE_HZ):
            write_image(bag, float(second), board_at(*PLACES[int(second / DWELL_S)]))
        write_points(bag, [(s, "/gaze", xy) for s, xy in zip(seconds, said, strict=True)])
    found = calibrate(
        capsys, "--bag", tmp_path / "bag", "--marker", "aruco_5x5_50", "--board", "5x4",
        "--board-marker-share", "0.7", "--output", tmp_path / "gaze.yaml",
    )  # fmt: skip
    assert found["targets"] == 9
    assert worst_px(tmp_path / "gaze.yaml", wanted) < 5


def camera_of(tmp_path: Path, size_hw: tuple[int, int], corner: tuple[int, int]) -> Any:
    """What is taken for the camera of a bag whose images are of SIZE_HW."""
    path = tmp_path / f"{size_hw[0]}_{corner[0]}"
    with BagWriter(path) as writer:
        write_camera_info(writer, size_hw, corner)
    arguments = argparse.Namespace(focal_px=None, camera=None)
    with BagReader(path) as bag:
        return _intrinsics(arguments, bag, SIZE_HW)


def test_the_camera_of_a_region_of_interest_is_that_of_its_part_of_the_sensor(
    tmp_path: Path,
) -> None:
    whole = camera_of(tmp_path, SIZE_HW, (0, 0))
    assert camera_of(tmp_path, (960, 1280), (200, 100)) == whole


def test_camera_info_of_images_of_another_shape_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/camera/camera_info.*1280x720.*640x480.*--focal-px"):
        camera_of(tmp_path, (720, 1280), (0, 0))


def test_a_topic_of_targets_and_camera_info_come_from_a_bag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = write_bag(tmp_path / "bag", np.random.default_rng(3))
    found = calibrate(
        capsys, "--bag", tmp_path / "bag", "--gaze-topic", "/gaze", "--target-topic", "/target",
        "--output", tmp_path / "gaze.yaml",
    )  # fmt: skip
    assert found["targets"] == 9
    assert found["accuracy_deg"] is not None
    assert worst_px(tmp_path / "gaze.yaml", wanted) < 4


def test_what_a_person_reads_names_model_accuracy_and_what_was_left_out(
    markers_in_turn: tuple[Path, Path, GazeMapping],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video, gaze, _ = markers_in_turn
    status = main(
        ["calibrate", "gaze", "--video", str(video), "--gaze", str(gaze), "--gaze-is-video-time",
         "--output", str(tmp_path / "gaze.yaml")]
    )  # fmt: skip
    text = capsys.readouterr().out
    assert status == 0
    for words in ("9 targets", "at held-out targets", "degrees are unknown", "gaze_not_stable"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--marker", "aruco_7x7_1000"], "no target was looked at (frame_without_target"),
        (["--marker", "qr"], "marker family is 'qr'"),
        (["--board", "5"], "--board is '5'"),
        (["--target-topic", "/t"], "is a topic of a bag"),
        (["--models", "spline"], "unknown gaze model 'spline'"),
        (["--focal-px", "1", "--camera", "c.yaml"], "give one"),
        (["--bag", "b"], "not both"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(
    arguments: list[str],
    message: str,
    markers_in_turn: tuple[Path, Path, GazeMapping],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video, gaze, _ = markers_in_turn
    output = tmp_path / "gaze.yaml"
    words = ["calibrate", "gaze", "--video", str(video), "--gaze", str(gaze)]
    assert main([*words, "--output", str(output), *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not output.exists()


def test_gaze_that_never_overlaps_is_told_before_anything_else(
    markers_in_turn: tuple[Path, Path, GazeMapping],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video, gaze, _ = markers_in_turn
    words = ["calibrate", "gaze", "--video", str(video), "--gaze", str(gaze)]
    late = ["--gaze-is-video-time", "--gaze-offset-ms", "3600000"]
    assert main([*words, *late, "--output", str(tmp_path / "gaze.yaml")]) == 1
    error = capsys.readouterr().err
    assert "gaze covers 3601.00.." in error
    assert "frames 1.00.." in error and "never overlap" in error


def test_gaze_that_never_overlaps_the_topic_of_targets_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bag", np.random.default_rng(3))
    words = ["calibrate", "gaze", "--bag", str(tmp_path / "bag"), "--gaze-topic", "/gaze"]
    late = ["--target-topic", "/target", "--gaze-offset-ms", "-3600000"]
    assert main([*words, *late, "--output", str(tmp_path / "gaze.yaml")]) == 1
    assert "targets 1.00..7.2" in capsys.readouterr().err


def test_a_calibration_that_exists_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaze.yaml").write_text("mine")
    words = ["calibrate", "gaze", "--video", "v", "--gaze", "g"]
    assert main([*words, "--output", str(tmp_path / "gaze.yaml")]) == 1
    assert "not overwritten" in capsys.readouterr().err
    assert (tmp_path / "gaze.yaml").read_text() == "mine"
