import gzip
import json
import os
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import PenState
from tracevlm_ros.ingest.gaze_recordings import FORMS, open_gaze
from tracevlm_ros.ingest.gaze_table import seconds_to_ns
from tracevlm_ros.ingest.localized_narratives import read_narratives
from tracevlm_ros.ingest.tobii import video_start_ns

SIZE = (1080, 1920)
DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[3] / "shared" / "data"))


def samples_of(path, size_hw=SIZE):
    return list(open_gaze(path).samples(size_hw))


def test_a_mapping_table_is_read_in_milliseconds_with_y_down(tmp_path):
    path = tmp_path / "gaze.tsv"
    path.write_text(
        "timestamp\tframe_idx\tconfidence\tnorm_pos_x\tnorm_pos_y\n92458.245\t0\t.5\t.5\t.25\n"
    )
    (sample,) = samples_of(path)
    assert sample == (92_458_245_000, 959.5, 269.5, 0.5, PenState.UNKNOWN)


def test_a_pupil_cloud_table_is_scaled_and_knows_blinks(tmp_path):
    path = tmp_path / "gaze.csv"
    path.write_text(
        "section id,timestamp [ns],gaze x [px],gaze y [px],worn,fixation id,blink id\n"
        "s,1700000000000000001,800,600,1,,\n"
        "s,1700000000005000001,800,600,1,,3\n"
        "s,1700000000010000001,800,600,0,,\n"
    )
    first, blink, unworn = samples_of(path, (600, 800))
    assert first == (1_700_000_000_000_000_001, 399.5, 299.5, 1.0, PenState.UNKNOWN)
    assert blink.confidence == unworn.confidence == 0.0


def test_the_own_table_keeps_pixels_pen_and_gaps(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("stamp_ns,x_px,y_px,confidence,pen\n5,1.5,2.5,0.75,1\n6,,,,0\n")
    down, lost = samples_of(path)
    assert down == (5, 1.5, 2.5, 0.75, PenState.DOWN)
    assert isnan(lost.x_px)
    assert (lost.confidence, lost.pen) == (0.0, PenState.UP)


def test_a_pupil_core_export_has_its_origin_at_the_bottom(tmp_path):
    table = tmp_path / "gaze_positions.csv"
    table.write_text(
        "gaze_timestamp,world_index,confidence,norm_pos_x,norm_pos_y\n1216.218711,3,0.9,0.5,0.75\n"
    )
    for path in (table, tmp_path):
        (sample,) = samples_of(path)
        assert sample == (1_216_218_711_000, 959.5, 269.5, 0.9, PenState.UNKNOWN)


@pytest.mark.parametrize("packed", [False, True])
def test_tobii_live_data_marks_invalid_readings(tmp_path, packed):
    lines = [
        {"ts": 900, "s": 0, "ac": [0, 0, 0]},
        {"ts": 1000, "s": 0, "gidx": 1, "gp": [0.5, 0.25]},
        {"ts": 1500, "s": 0, "vts": 400},
        {"ts": 2000, "s": 1, "gidx": 2, "gp": [0.0, 0.0]},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    path = tmp_path / ("livedata.json.gz" if packed else "livedata.json")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    seen, lost = samples_of(tmp_path)
    assert seen == (1_000_000, 959.5, 269.5, 1.0, PenState.UNKNOWN)
    assert lost.stamp_ns == 2_000_000
    assert isnan(lost.x_px)
    assert lost.confidence == 0.0
    assert video_start_ns(path) == 1_100_000


def neon(folder, count=4):
    folder.mkdir(exist_ok=True)
    (folder / "info.json").write_text("{}")
    xy = np.tile(np.array([[800.0, 600.0]], np.float32), (count, 1))
    stamps = 10**18 + np.arange(count) * 5_000_000
    xy.tofile(folder / "gaze ps1.raw")
    stamps.astype("<i8").tofile(folder / "gaze ps1.time")
    return stamps


def test_a_neon_recording_is_scaled_and_knows_worn_and_blinks(tmp_path):
    stamps = neon(tmp_path / "rec")
    np.array([255, 0, 255, 255], np.uint8).tofile(tmp_path / "rec" / "worn ps1.raw")
    blink = np.array(
        [(4, stamps[3], stamps[3] + 1)], [("e", "<i4"), ("start", "<i8"), ("end", "<i8")]
    )
    blink.tofile(tmp_path / "rec" / "blinks ps1.raw")
    samples = samples_of(tmp_path / "rec", (600, 800))
    assert [sample.stamp_ns for sample in samples] == stamps.tolist()
    assert samples[0][1:3] == (399.5, 299.5)
    assert [sample.confidence for sample in samples] == [1.0, 0.0, 1.0, 0.0]


def test_the_parts_of_a_neon_recording_follow_each_other_unless_the_full_rate_is_there(tmp_path):
    stamps = neon(tmp_path / "rec")
    for kind in ("raw", "time"):
        content = (tmp_path / "rec" / f"gaze ps1.{kind}").read_bytes()
        for name in ("gaze ps2", "gaze ps10"):
            (tmp_path / "rec" / f"{name}.{kind}").write_bytes(content)
    assert len(samples_of(tmp_path / "rec")) == 3 * len(stamps)
    for kind in ("raw", "time"):
        content = (tmp_path / "rec" / f"gaze ps1.{kind}").read_bytes()
        (tmp_path / "rec" / f"gaze_200hz.{kind}").write_bytes(content)
    assert len(samples_of(tmp_path / "rec")) == len(stamps)


def test_a_neon_recording_that_is_incomplete_says_what_is_missing(tmp_path):
    neon(tmp_path / "rec")
    raw, times = tmp_path / "rec" / "gaze ps1.raw", tmp_path / "rec" / "gaze ps1.time"
    content = raw.read_bytes()
    raw.write_bytes(content[:-8])
    with pytest.raises(InputError, match=r"holds 3 readings but gaze ps1.time 4 times"):
        samples_of(tmp_path / "rec")
    raw.write_bytes(content[:-3])
    with pytest.raises(InputError, match="29 bytes, which is no multiple of 4"):
        samples_of(tmp_path / "rec")
    times.unlink()
    with pytest.raises(InputError, match=r"gaze ps1.time is missing"):
        samples_of(tmp_path / "rec")


STILL = {
    "dataset_id": "toy",
    "image_id": "7",
    "annotator_id": 3,
    "caption": "a cat",
    "timed_caption": [{"utterance": "a cat", "start_time": 0.5, "end_time": 0.5}],
    "traces": [[{"x": 0.5, "y": 0.25, "t": 0.1}, {"x": 1.5, "y": 0.25, "t": 0.2}], []],
}


def test_a_localized_narrative_becomes_strokes_of_a_pen(tmp_path):
    path = tmp_path / "ln.jsonl"
    path.write_text(json.dumps({**STILL, "traces": []}) + "\n" + json.dumps(STILL) + "\n")
    samples = samples_of(path)
    assert [sample.pen for sample in samples] == [PenState.DOWN, PenState.DOWN, PenState.UP]
    assert samples[0][:3] == (100_000_000, 959.5, 269.5)
    assert samples[1].x_px > SIZE[1]
    assert samples[2].stamp_ns == samples[1].stamp_ns + 1
    empty, full = read_narratives(path)
    assert empty.strokes == ()
    assert full.words == (("a cat", 500_000_000, 500_000_000),)


def test_strokes_over_a_video_are_cut_where_the_keyframe_changes(tmp_path):
    def point(ms, keyframe):
        return {"x": 0.5, "y": 0.5, "time_ms_since_epoch": 10_000 + ms, "kf_idx": keyframe}

    actor = {
        "actor_name": "Cat",
        "recording_start_time_ms_since_epoch": 10_100,
        "caption": "A cat runs",
        "traces": [[point(0, 0), point(120, 0), point(140, 1)], [point(200, 1)]],
        "time_alignment": [{"referenced_word": "cat", "start_ms": 20, "end_ms": 40}],
    }
    record = {
        "dataset_id": "toy",
        "video_id": "v",
        "annotator_id": 1,
        "keyframe_names": ["k0", "k1"],
        "actor_narratives": [actor],
    }
    path = tmp_path / "vidln.jsonl"
    path.write_text(json.dumps(record) + "\n")
    (narrative,) = read_narratives(path)
    assert [len(stroke) for stroke in narrative.strokes] == [2, 1, 1]
    assert narrative.strokes[0][0].time_ns == -100_000_000
    assert narrative.strokes[1][0].keyframe == 1
    assert narrative.words == (("cat", 20_000_000, 40_000_000),)
    assert (narrative.actor, narrative.keyframes) == ("Cat", ("k0", "k1"))


def test_what_is_no_recording_lists_the_forms(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    (tmp_path / "picture.png").write_bytes(bytes(range(256)))
    for path in (tmp_path / "notes.txt", tmp_path / "picture.png", tmp_path):
        with pytest.raises(InputError, match="no gaze recording of a known form") as caught:
            open_gaze(path)
        assert all(form.name in str(caught.value) for form in FORMS)
    with pytest.raises(InputError, match="does not exist"):
        open_gaze(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "stamp_ns,x_px,y_px\n1,2,3\n4,left,6\n", r"a.csv line 3 is no reading.*'left'"),
        ("livedata.json", '{"ts": 1, "s": 0}\n{"ts": 2,', r"damaged near line 2"),
        ("n.jsonl", '{"traces": []}\n', r"n.jsonl line 1 is no narrative"),
        ("m.jsonl", json.dumps({**STILL, "traces": []}), r"holds no narrative with a trace"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=told):
        samples_of(tmp_path / name)


def test_a_gzip_that_breaks_off_is_told(tmp_path):
    lines = [json.dumps({"ts": n, "s": 0, "gp": [0.1 * (n % 7), 0.3]}) for n in range(5000)]
    text = "\n".join(lines)
    packed = gzip.compress(text.encode())
    (tmp_path / "livedata.json.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="copy it again"):
        samples_of(tmp_path)


def test_decimal_times_become_exact_nanoseconds():
    assert seconds_to_ns("1216.218711", 10**9) == 1_216_218_711_000
    assert seconds_to_ns("1700000000.123456789", 10**9) == 1_700_000_000_123_456_789
    assert seconds_to_ns("-0.5", 10**9) == -500_000_000
    assert seconds_to_ns("42", 10**6) == 42_000_000


@pytest.mark.parametrize(
    ("path", "count", "rate_hz", "seconds"),
    [
        ("gaze/tobii_glasses_video/gazeData_world.tsv", 100, 50, 1.98),
        ("gaze/neon_native/demo_recording", 1788, 200, 8.96),
        ("gaze/pupil_core_export", 9302, 240, 39.2),
        ("gaze/tobii_g2_livedata", 1424, 50, 28.7),
        ("vidln_dev/ln_keyframes.jsonl", 175, 59, 18.6),
        ("vidln_dev/vidlns/oops_train.jsonl", 429, 59, 30.2),
        ("vidln_dev/vidlns/OVIS_train.jsonl", 414, 59, 22.0),
    ],
)
def test_real_recordings_are_read_whole(path, count, rate_hz, seconds):
    if not (DATA / path).exists():
        pytest.skip(f"{DATA / path} is absent; set TRACEVLM_DATA to the folder of the data")
    samples = samples_of(DATA / path)
    stamps = np.array([sample.stamp_ns for sample in samples])
    places = np.array([sample[1:3] for sample in samples if sample.confidence > 0.6])
    assert len(samples) == count
    assert (stamps.max() - stamps.min()) / 1e9 == pytest.approx(seconds, abs=0.1)
    assert np.median(np.diff(stamps)) == pytest.approx(1e9 / rate_hz, rel=0.1)
    inside = (places >= 0).all(axis=1) & (places < (SIZE[1], SIZE[0])).all(axis=1)
    assert inside.mean() > 0.9
