import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tracevlm_ros.cli.data_stats import hausdorff_px, strokes_of
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import GazeSample, PenState

DATA = Path(os.environ.get("TRACEVLM_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
MS = 1_000_000


def parted(samples):
    drops = Drops()
    strokes = list(strokes_of(samples, gap_ms=100, min_confidence=0.6, drops=drops))
    return [stroke.xy_px[:, 0].tolist() for stroke in strokes], dict(drops)


def test_a_silence_of_gaze_ends_a_stroke():
    stamps = [0, 50, 100, 300, 350]
    samples = [GazeSample(t * MS, float(t), 0.0) for t in stamps]
    assert parted(samples) == ([[0, 50, 100], [300, 350]], {})


def test_a_resting_pointer_does_not_end_a_stroke_and_a_lift_does():
    down = [GazeSample(t * MS, float(t), 0.0, 1.0, PenState.DOWN) for t in (0, 10, 900)]
    up = GazeSample(910 * MS, 900.0, 0.0, 1.0, PenState.UP)
    after = GazeSample(920 * MS, 920.0, 0.0, 1.0, PenState.DOWN)
    assert parted([*down, up, after]) == ([[0, 10, 900], [920]], {})


def test_samples_without_place_confidence_or_order_are_left_out_and_counted():
    samples = [
        GazeSample(0, 1.0, 1.0),
        GazeSample(10 * MS, math.nan, 1.0),
        GazeSample(20 * MS, 2.0, 1.0, 0.1),
        GazeSample(0, 3.0, 1.0),
        GazeSample(30 * MS, 4.0, 1.0),
    ]
    reasons = {"gaze_without_position": 1, "gaze_unsure": 1, "gaze_out_of_order": 1}
    assert parted(samples) == ([[1, 4]], reasons)


def test_hausdorff_distance_is_that_of_the_farthest_point():
    trace = np.array([(0, 0), (5, 3), (10, 0), (14, 0), (10, 0)], dtype=np.float64)
    assert hausdorff_px(trace, trace) == 0.0
    assert hausdorff_px(trace, trace[[0, 2]]) == 4.0
    assert hausdorff_px(trace[:1], trace[:1]) == 0.0


def narrative(path, points):
    line = {
        "dataset_id": "d",
        "image_id": "i",
        "annotator_id": 1,
        "caption": "",
        "timed_caption": [],
    }
    line["traces"] = [
        [{"x": x / 100, "y": y / 100, "t": n / 60} for n, (x, y) in enumerate(points)]
    ]
    path.write_text((json.dumps(line) + "\n") * 2)
    return path


def test_every_narrative_of_a_file_counts(tmp_path, capsys):
    path = narrative(tmp_path / "two.jsonl", [(10, 10), (30, 10), (50, 10), (50, 50)])
    assert main(["data", "stats", "--size", "100x100", "--json", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["points"], row["strokes"], row["points_per_stroke"]) == (8, 2, 4.0)
    assert row["segment"]["kept"] == 6
    assert row["segment"]["error_max_px"] == pytest.approx(0.0, abs=1e-6)


def test_a_size_that_is_none_is_refused(tmp_path, capsys):
    path = narrative(tmp_path / "two.jsonl", [(1, 1), (2, 2)])
    assert main(["data", "stats", "--size", "large", str(path)]) == 1
    assert "WIDTHxHEIGHT" in capsys.readouterr().err


def test_the_segment_metric_bounds_the_error_of_real_traces(capsys):
    path = DATA / "vidln_dev" / "ln_keyframes.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is absent; put the shared data beside the project")
    assert main(["data", "stats", "--json", "--tolerance", "25", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["segment"]["error_max_px"] <= 25.0
    assert row["line"]["error_max_px"] > 25.0
    assert row["segment"]["compression"] > 4.0
