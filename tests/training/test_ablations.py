"""The ablations as a user runs them, with steps too few to learn anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
SHORT = ("--model", "tiny", "--steps", "3", "--seeds", "1", "--scenes", "2", "--length", "512")


def _rows(command: list[str], out: Path) -> list[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-3:]


def test_the_rehearsal_for_a_gpu_fills_a_table_and_no_run_is_done_twice(tmp_path):
    rehearsal = [str(BENCHMARKS / "gpu_ablations.sh"), "--rehearse", "order"]
    rows = _rows(rehearsal, tmp_path)
    assert [row.split(" | ")[0] for row in rows] == ["| fixed", "| random", "| in turn"]
    kept = sorted(tmp_path.glob("*.json"))
    assert len(kept) == 3
    kept[0].write_text(json.dumps(json.loads(kept[0].read_text()) | {"bleu4": 12.5}))
    again = [sys.executable, str(BENCHMARKS / "ablations.py"), "order", *SHORT]
    assert ["12.5" in row for row in _rows(again, tmp_path)] == [True, False, False]


def test_an_arm_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "ablations.py"), "order", "--arms", "sorted"]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no arm 'sorted'" in done.stderr and "in turn" in done.stderr
