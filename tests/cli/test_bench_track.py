"""``tracevlm bench track``: every figure is measured and printed, with and without the data."""

import json

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
