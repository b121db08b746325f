import json
import re
import sys

import numpy as np
import pytest

from tracevlm_ros.cli.bench_simplify import GOALS, SCALING
from tracevlm_ros.cli.bench_traces import gaze_trace, pointer_trace, recorded_trace
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.simplify import has_numba, simplify

SMALL = ["bench", "simplify", "--points", "300", "--samples", "40", "--no-scaling"]


def test_json_holds_every_figure_of_every_trace_and_metric(capsys):
    pytest.importorskip("fastrdp")
    if not has_numba():
        pytest.skip("numba is not installed")
    assert main([*SMALL, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in results["traces"]] == ["segment", "line"] * 2
    for row in results["traces"]:
        assert row["times_cheaper_than_fastrdp"] > 0
        assert row["numba"]["core_percent_at_240_hz"] > 0
        assert row["numba"]["query_p99_us"] >= row["numba"]["query_p50_us"] > 0
        assert row["numpy"]["core_percent_at_30_hz"] > 0


def test_each_goal_has_its_worst_figure_and_whether_it_is_met(capsys):
    assert main([*SMALL, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert set(results["goals"]) == set(GOALS)
    numpy = max(row["numpy"]["core_percent_at_30_hz"] for row in results["traces"])
    row = results["goals"]["numpy_core_percent_at_30_hz"]
    assert row == {"found": numpy, "goal": "at most 1", "met": numpy <= 1.0}
    if has_numba() and results["fastrdp"]:
        cheaper = min(row["times_cheaper_than_fastrdp"] for row in results["traces"])
        row = results["goals"]["times_cheaper_than_fastrdp"]
        assert row == {"found": cheaper, "goal": "at least 10", "met": cheaper >= 10.0}


def test_the_scaling_table_has_a_row_for_each_length(capsys):
    small = ["bench", "simplify", "--points", "100", "--samples", "20", "--scaling", "40", "160"]
    assert main([*small, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["points"] for row in results["scaling"]] == [40, 160]
    for row in results["scaling"]:
        assert row["keypoints"] == len(simplify(pointer_trace(row["points"]), 5.0))
        assert row["numpy_us"] > 0
        assert ("numba_us" in row) == results["numba"]
        assert ("fastrdp_us" in row) == results["fastrdp"]
    assert main(small) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert [first.split()[0], second.split()[0]] == ["40", "160"]


def test_the_scaling_table_goes_to_100000_points_unless_told(capsys):
    assert (SCALING[0], SCALING[-1]) == (100, 100_000)
    assert main([*SMALL, "--scaling", "3"]) == 1
    assert "--scaling has 3" in capsys.readouterr().err


def test_an_absent_fastrdp_is_told_and_the_rest_is_measured(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastrdp", None)
    assert main(SMALL) == 0
    printed = capsys.readouterr().out
    assert "fastrdp is not installed" in printed
    assert re.search(r"times_cheaper_than_fastrdp +- +at least 10 +not measured", printed)
    assert "pointer, generated" in printed


def test_more_samples_than_points_are_refused(capsys):
    assert main(["bench", "simplify", "--points", "100", "--samples", "100"]) == 1
    assert "--samples is 100" in capsys.readouterr().err


@pytest.mark.parametrize("trace", [pointer_trace, gaze_trace])
def test_generated_traces_are_as_long_as_asked_and_the_same_every_time(trace):
    assert trace(777).shape == (777, 2)
    assert np.array_equal(trace(777), trace(777))
    assert not np.array_equal(trace(777), trace(777, seed=8))


def test_a_short_recording_goes_on_in_mirror_images(tmp_path):
    line = {
        "dataset_id": "d",
        "image_id": "i",
        "annotator_id": 1,
        "caption": "",
        "timed_caption": [],
    }
    line["traces"] = [[{"x": 0.25, "y": 0.5, "t": 0.0}, {"x": 0.5, "y": 0.5, "t": 0.1}]]
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(line) + "\n")
    trace = recorded_trace(path, 11)
    assert trace.shape == (11, 2)
    stroke = trace[0]
    assert (trace[:, 0] == stroke[0]).any()
    assert (trace[:, 0] == 1280 - stroke[0]).any()
