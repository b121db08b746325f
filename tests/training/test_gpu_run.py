"""The script that trains on a borrowed GPU, rehearsed on the CPU at the smallest size."""

import json
import subprocess
import sys
from pathlib import Path

from tests.training.data.tiny_sets import instances
from training.checkpoint import load_checkpoint

SCRIPT = Path(__file__).parents[2] / "training" / "gpu_run.sh"


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *words],
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_script_trains_both_stages_and_resumes(tmp_path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(
        json.dumps({"model": "tiny", "threads": 1, "data": {"images": 1, "traces_per_image": 1}})
    )
    out = tmp_path / "out"
    photos = instances(tmp_path).parent
    words = ("--photos", str(photos), "--out", str(out), "--config", str(settings))
    first = _run(*words, "--grounding", "1", "--joint", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "done: " in first.stdout
    second = _run(*words, "--grounding", "1", "--joint", "2")
    assert second.returncode == 0, second.stdout + second.stderr
    assert load_checkpoint(out / "grounding" / "checkpoint.pt").step == 1
    assert load_checkpoint(out / "joint" / "checkpoint.pt").step == 2


def test_what_is_missing_is_said_in_one_line(tmp_path) -> None:
    found = _run("--photos", str(tmp_path), "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert "holds no instances.json" in found.stderr
    assert not (tmp_path / "out").exists()
