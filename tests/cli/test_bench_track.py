"""``tracevlm bench track``: every figure is measured and printed, with and without the data."""

import json

from tracevlm_ros.cli.bench_track import GOALS
from tracevlm_ros.cli.main import main


def test_json_holds_accuracy_coverage_and_time_without_the_data(tmp_path, capsys):
    arguments = ["--videos", "1", "--frames", "2", "--data", str(tmp_path)]
    assert main(["bench", "track", "--json", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == "procedural"
    assert report["points"] == 100
    assert report["clips"] == []
    assert report["accuracy"]["step_median_px"] <= 0.1
    assert 0 <= report["coverage"]["visible_kept"] <= 1
    assert report["time_1280x720"]["cpu_median_ms"] > 0
    assert set(report["goals"]) == set(GOALS)
    step = report["accuracy"]["step_median_px"]
    assert report["goals"]["step_median_px"] == {"found": step, "goal": "at most 0.1", "met": True}
    cpu_ms = report["time_1280x720"]["cpu_median_ms"]
    assert report["goals"]["time_1280x720_cpu_median_ms"]["met"] == (cpu_ms <= 5.0)
    clips = report["goals"]["clips_inside_over_plain"]
    assert clips == {"found": None, "goal": "above 0", "met": None}
