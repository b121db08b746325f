"""Recordings of real trackers; skipped where the shared data folder is absent."""

import ast
import csv
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.segmentation import SimulatedGaze, detect, score
from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.sync import SyncConfig, Synchronizer
from tracevlm_ros.core.types import Frame, GazeSample

BESIDE = Path(__file__).parents[3] / ".." / "shared" / "data"
GAZE = Path(os.environ.get("TRACEVLM_DATA", BESIDE)) / "gaze"
NEON = GAZE / "neon_native" / "demo_recording"
PUPIL = GAZE / "pupil_core_export" / "gaze_positions.csv"


@pytest.mark.skipif(not NEON.exists(), reason=f"no Neon recording at {NEON} (see TRACEVLM_DATA)")
def test_fixations_of_a_moving_head_agree_with_those_that_the_device_found():
    points = np.fromfile(NEON / "gaze_200hz.raw", "<f4").reshape(-1, 2)
    stamps = np.fromfile(NEON / "gaze_200hz.time", "<i8")
    layout = np.dtype(ast.literal_eval((NEON / "fixations.dtype").read_text()))
    events = np.fromfile(NEON / "fixations ps1.raw", layout)
    theirs = events[events["event_type"] == 1]
    samples = [
        GazeSample(int(stamp), float(x), float(y))
        for stamp, (x, y) in zip(stamps, points, strict=True)
    ]
    intervals = [(int(one["start_timestamp_ns"]), int(one["end_timestamp_ns"])) for one in theirs]
    gaze = SimulatedGaze(samples, intervals)
    found = detect(gaze, TraceConfig(image_size_hw=(1200, 1600)))
    assert score(gaze, found, 200.0, 0.0).f1 > 0.6


@pytest.mark.skipif(not PUPIL.exists(), reason=f"no Pupil export at {PUPIL} (see TRACEVLM_DATA)")
def test_a_pupil_core_recording_is_handed_out_once_and_in_order():
    with PUPIL.open() as file:
        samples = [
            GazeSample(
                round(float(row["gaze_timestamp"]) * 1e9),
                float(row["norm_pos_x"]) * 1280,
                (1 - float(row["norm_pos_y"])) * 720,
                float(row["confidence"]),
            )
            for row in csv.DictReader(file)
        ]
    drops = Drops()
    sync = Synchronizer(SyncConfig(), drops)
    image = np.zeros((1, 1, 3), np.uint8)
    frame_ns = samples[0].stamp_ns
    stamps: list[int] = []
    for sample in samples:
        sync.push_gaze(sample)
        if sample.stamp_ns > frame_ns + 33_000_000:
            frame_ns = sample.stamp_ns
            sync.push_frame(Frame(frame_ns, image))
        stamps += [one.stamp_ns for bundle in sync.pop_ready() for one in bundle.gaze]
    stamps += [one.stamp_ns for bundle in sync.flush() for one in bundle.gaze]
    sync.reset()
    assert stamps == sorted(set(stamps))
    refused = sum(count for reason, count in drops.items() if reason.startswith("gaze_"))
    assert len(stamps) + refused == len(samples)
    assert refused < 0.01 * len(samples)
