"""The script that trains on a GPU for a given time, rehearsed on the CPU at the smallest size."""

import json
import subprocess
import sys
from pathlib import Path

from tests.training.data.tiny_sets import captions, instances
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


def test_the_script_trains_for_its_time_and_packs_the_weights(tmp_path) -> None:
    settings = tmp_path / "settings.json"
    data = {"images": 1, "traces_per_image": 1, "bare_share": 0.3, "told_share": 1.0}
    settings.write_text(json.dumps({"model": "tiny", "threads": 1, "data": data}))
    out = tmp_path / "out"
    folders = ("--photos", instances(tmp_path).parent, "--captions", captions(tmp_path).parent)
    words = (*map(str, folders), "--out", str(out), "--config", str(settings), "--from", "none")
    first = _run(*words, "--seconds", "2")
    assert first.returncode == 0, first.stdout + first.stderr
    done = load_checkpoint(out / "checkpoint.pt")
    assert 1 <= done.step < 10_000_000
    assert load_checkpoint(out / "nano.safetensors").step == done.step
    second = _run(*words, "--seconds", "4")
    assert second.returncode == 0, second.stdout + second.stderr
    assert load_checkpoint(out / "checkpoint.pt").step > done.step


def test_what_is_missing_is_said_in_one_line(tmp_path) -> None:
    found = _run("--photos", str(tmp_path), "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert "holds no instances.json" in found.stderr
    found = _run("--photos", str(instances(tmp_path).parent), "--out", str(tmp_path / "out"))
    assert "holds no captions.json" in found.stderr
    assert not (tmp_path / "out").exists()
