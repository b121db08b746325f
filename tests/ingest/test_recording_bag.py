"""Recordings of eye trackers and narratives as bags, read back: tiny ones and the real ones."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tracevlm_ros.cli import convert
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import PenState
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_messages import stamp_ns, to_frame, to_gaze_sample, to_word
from tracevlm_ros.ingest.recording_bag import GAZE_TOPIC, IMAGE_TOPIC, START_NS, WORDS_TOPIC

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[3] / "shared" / "data"))
SIZE_HW = (48, 64)
MS = 1_000_000


def converted(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return convert.run(parser.parse_args([str(word) for word in words]))


def records(bag: Path, topic: str) -> list[BagRecord]:
    with BagReader(bag) as reader:
        return [record._replace(raw=bytes(record.raw)) for record in reader.records([topic])]


def write_table(path: Path, stamps_ns: list[int]) -> Path:
    rows = [f"{stamp},{index + 1},{index + 2}" for index, stamp in enumerate(stamps_ns)]
    path.write_text("\n".join(["stamp_ns,x_px,y_px", *rows]) + "\n")
    return path


def write_video(path: Path, frames: int) -> Path:
    """At 25 Hz; frame ``i`` has the grey level ``40 i``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE_HW, "yuv420p"
        for index in range(frames):
            pixels = np.full((*SIZE_HW, 3), 40 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_gaze_and_its_video_begin_together_and_keep_their_pace(tmp_path: Path) -> None:
    stamps = [70_000_000_000 + index * 10 * MS for index in range(9)]
    table = write_table(tmp_path / "gaze.csv", stamps)
    video = write_video(tmp_path / "scene.mp4", 3)
    assert converted(table, tmp_path / "bag", "--video", video, "--frame-id", "glasses") == 0
    frames = [to_frame(record) for record in records(tmp_path / "bag", IMAGE_TOPIC)]
    assert [frame.stamp_ns - START_NS for frame in frames] == [0, 40 * MS, 80 * MS]
    levels = [int(frame.image_rgb.mean()) for frame in frames]
    assert all(abs(level - 40 * index) < 6 for index, level in enumerate(levels))
    assert {frame.frame_id for frame in frames} == {"glasses"}
    gaze = [to_gaze_sample(record, SIZE_HW) for record in records(tmp_path / "bag", GAZE_TOPIC)]
    assert [sample.stamp_ns - START_NS for sample in gaze] == [s - stamps[0] for s in stamps]
    assert (gaze[3].x_px, gaze[3].y_px, gaze[3].pen) == (4.0, 5.0, PenState.UNKNOWN)


@pytest.mark.parametrize("device", ["neon", "pupil"])
def test_times_beside_the_video_stamp_its_frames(tmp_path: Path, device: str) -> None:
    unix_ns = 1_750_000_000_000_000_000
    stamps = np.array([unix_ns + 5 * MS, unix_ns + 55 * MS, unix_ns + 90 * MS], np.int64)
    video = write_video(tmp_path / "world.mp4", 3)
    if device == "neon":
        stamps.astype("<i8").tofile(tmp_path / "world.time")
    else:
        np.save(tmp_path / "world_timestamps.npy", stamps / 1e9)
    table = write_table(tmp_path / "gaze.csv", [unix_ns, unix_ns + 10 * MS])
    assert converted(table, tmp_path / "bag", "--video", video, "--gaze-offset-ms", "2") == 0
    frames = [to_frame(record).stamp_ns for record in records(tmp_path / "bag", IMAGE_TOPIC)]
    assert np.abs(np.array(frames) - stamps).max() < 1000
    gaze = [stamp_ns(r.decode().header.stamp) for r in records(tmp_path / "bag", GAZE_TOPIC)]
    assert gaze == [unix_ns + 2 * MS, unix_ns + 12 * MS]


def test_times_that_do_not_belong_to_the_video_are_refused(tmp_path: Path) -> None:
    video = write_video(tmp_path / "world.mp4", 3)
    np.array([1, 2], "<i8").tofile(tmp_path / "world.time")
    table = write_table(tmp_path / "gaze.csv", [1])
    with pytest.raises(InputError, match="more frames than the 2 times"):
        converted(table, tmp_path / "bag", "--video", video)


def test_late_and_doubled_readings_stay_in_order_and_log_times_never_fall(tmp_path: Path) -> None:
    given = [START_NS, START_NS + 20 * MS, START_NS + 10 * MS, START_NS + 20 * MS]
    table = write_table(tmp_path / "gaze.csv", given)
    assert converted(table, tmp_path / "bag", "--size", "64x48") == 0
    found = records(tmp_path / "bag", GAZE_TOPIC)
    assert [stamp_ns(record.decode().header.stamp) for record in found] == given
    logged = [record.log_ns for record in found]
    assert logged == sorted(logged)


def test_gaze_without_a_video_needs_the_size_of_its_scene(tmp_path: Path) -> None:
    table = write_table(tmp_path / "gaze.csv", [START_NS])
    with pytest.raises(ConfigError, match="size"):
        converted(table, tmp_path / "bag")
    with pytest.raises(ConfigError, match="1280x720"):
        converted(table, tmp_path / "bag", "--size", "large")


def narrative(strokes: list[list[tuple[float, float, float]]]) -> dict[str, Any]:
    return {
        "dataset_id": "set",
        "image_id": "cat",
        "annotator_id": 1,
        "caption": "a cat",
        "timed_caption": [
            {"utterance": "a", "start_time": 0.0, "end_time": 0.2},
            {"utterance": "cat", "start_time": 0.2, "end_time": 0.2},
        ],
        "traces": [[{"x": x, "y": y, "t": t} for x, y, t in stroke] for stroke in strokes],
    }


def test_a_narrative_shows_its_picture_with_pointer_and_words(tmp_path: Path) -> None:
    lines = [narrative([]), narrative([[(0.25, 0.5, -0.1), (0.5, 0.5, 0.3)], [(0.75, 0.5, 0.6)]])]
    path = tmp_path / "ln.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    picture = np.full((*SIZE_HW, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "cat.png"), picture)
    words = [path, tmp_path / "bag", "--images", tmp_path, "--picture-rate", "5"]
    with pytest.raises(InputError, match="no narrative 0 with a trace"):
        converted(*words)
    assert converted(*words, "--narrative", "1") == 0
    frames = [to_frame(record) for record in records(tmp_path / "bag", IMAGE_TOPIC)]
    assert all((frame.image_rgb == 90).all() for frame in frames)
    gaze = [to_gaze_sample(record, SIZE_HW) for record in records(tmp_path / "bag", GAZE_TOPIC)]
    down, up = PenState.DOWN, PenState.UP
    assert [sample.pen for sample in gaze] == [down, down, up, down, up]
    assert (gaze[0].stamp_ns, gaze[0].x_px) == (START_NS, 15.5)
    assert frames[0].stamp_ns == START_NS
    assert frames[-1].stamp_ns >= gaze[-1].stamp_ns
    spoken = [to_word(record) for record in records(tmp_path / "bag", WORDS_TOPIC)]
    assert [word.text for word in spoken] == ["a", "cat"]
    assert spoken[0].start_ns == START_NS + 100 * MS
    with pytest.raises(InputError, match="cat"):
        converted(path, tmp_path / "new", "--images", tmp_path / "no", "--narrative", "1")


REAL = {
    "gaze/neon_native/demo_recording": (["--size", "1600x1200"], 1788),
    "gaze/pupil_core_export": (["--size", "1280x720"], 9302),
    "gaze/tobii_g2_livedata": (["--size", "1920x1080"], 1424),
    "gaze/tobii_glasses_video/gazeData_world.tsv": (
        ["--video", DATA / "gaze/tobii_glasses_video/worldCamera.mp4"],
        100,
    ),
    "vidln_dev/ln_keyframes.jsonl": (["--images", DATA / "vidln_dev/frames"], 175),
    "vidln_dev/vidlns/OVIS_train.jsonl": (["--images", DATA / "vidln_dev/frames"], 414),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_recording_becomes_a_bag_with_every_reading(name: str, tmp_path: Path) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"the recording {DATA / name} is not here")
    words, readings = REAL[name]
    assert converted(DATA / name, tmp_path / "bag", *words) == 0
    found = records(tmp_path / "bag", GAZE_TOPIC)
    assert len(found) == readings
    logged = [record.log_ns for record in found]
    assert logged == sorted(logged)
    assert logged[0] >= 1_000_000_000_000_000_000
