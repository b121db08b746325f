"""`benchmarks/ablations.py` as a process, with steps too few to learn anything."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--model", "tiny", "--steps", "3", "--seeds", "1", "--scenes", "2", "--length", "512")


def _ablate(kind: str, out: Path) -> list[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "ablations.py"), kind, *SHORT]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_ablation_prints_a_row_for_each_arm_and_does_no_run_twice(tmp_path):
    rows = _ablate("order", tmp_path)
    assert [row.split(" | ")[0] for row in rows[-3:]] == ["| fixed", "| random", "| in turn"]
    kept = sorted(tmp_path.glob("*.json"))
    assert len(kept) == 3
    scores = json.loads(kept[0].read_text()) | {"bleu4": 12.5}
    kept[0].write_text(json.dumps(scores))
    again = _ablate("order", tmp_path)
    assert [line for line in again if "12.5" in line] == [again[-3]]
