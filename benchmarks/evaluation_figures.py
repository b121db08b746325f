"""Every figure of evaluation and calibration, taken anew: for new weights, or another machine.

    python benchmarks/evaluation_figures.py --out FIGURES [--only davis memory ...] [--model nano]

Each part is one command of `tracevlm` in a process of its own, or a simulation; its result is
FIGURES/<part>.json. FIGURES/figures.md is made of all results that are there, so parts may be run
one at a time. Data: TRACEVLM_DATA, as for `tracevlm bench`.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from calibration.clock_offset import estimate_offset
from calibration.gaze_to_camera import calibrate_gaze
from tests.calibration.simulated_looks import CAMERA, SIZE_HW, grid, looks
from tests.calibration.test_clock_offset import error_ms, recording

Result = dict[str, Any]
SAMPLE_BAG = Path(str(resources.files("tracevlm_ros"))) / "resources" / "sample_bag"


def tracevlm(*words: str) -> None:
    """Run a command of the package with this interpreter; raises when it fails."""
    call = "import sys; from tracevlm_ros.cli.main import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", call, *words], check=True, stdout=subprocess.DEVNULL)


def bench(*words: str) -> Callable[[str, Path], Result]:
    """A part that is one `tracevlm bench` command."""

    def run(model: str, out: Path) -> Result:
        path = out / "bench.json"
        tracevlm("bench", *words, "--model", model, "--out", str(path))
        return json.loads(path.read_text(encoding="utf-8"))

    return run


def replays(model: str, out: Path) -> Result:
    """Two runs of the bundled bag: are the predictions the same bytes; and one in real time."""
    contents = []
    for name in ("first", "second"):
        words = ["evaluate", str(SAMPLE_BAG), "--no-java", "--model", model]
        tracevlm(*words, "--report", str(out / name))
        files = sorted((out / name).rglob("predictions.jsonl")) + sorted(
            (out / name).rglob("*.mcap")
        )
        contents.append([path.read_bytes() for path in files])
    tracevlm(
        "evaluate", str(SAMPLE_BAG), "--no-java", "--model", model, "--realtime",
        "--report", str(out / "live"),
    )  # fmt: skip
    return {
        "files_compared": len(contents[0]),
        "byte_identical": contents[0] == contents[1],
        "offline": figures_of(out / "first"),
        "realtime": figures_of(out / "live"),
    }


def figures_of(report: Path) -> Result:
    document = json.loads((report / "report.json").read_text(encoding="utf-8"))
    return {key: row["value"] for key, row in document["figures"].items()}


def scale(model: str, out: Path) -> Result:
    """Seconds of one and of two workers for a second of recording, each with its start."""
    if importlib.util.find_spec("ray") is None:
        return {"not run": "Ray is not installed: pip install 'tracevlm_ros[ray]'"}
    found: Result = {}
    for workers in (1, 2):
        bags = out / f"bags_{workers}"
        bags.mkdir()
        for number in range(2):
            (bags / f"bag_{number}").symlink_to(SAMPLE_BAG)
        started_s = time.perf_counter()
        tracevlm(
            "evaluate", str(bags), "--no-java", "--model", model, "--ray", "local",
            "--workers", str(workers), "--report", str(out / f"workers_{workers}"),
        )  # fmt: skip
        wall_s = time.perf_counter() - started_s
        found[f"{workers} workers"] = {"wall_s": wall_s, "per_recorded_s": wall_s / (2 * 20.0)}
    return found


def gaze(_model: str, _out: Path) -> Result:
    """1 degree of bias, 0.5 of noise, 20% strays, 9 targets, 40 seeds."""
    found = [
        calibrate_gaze(looks(np.random.default_rng(seed), grid()), SIZE_HW, CAMERA)
        for seed in range(100, 140)
    ]
    accuracy = [one.accuracy_deg for one in found if one.accuracy_deg is not None]
    models = [one.mapping.model for one in found]
    return {
        "accuracy_deg_median": float(np.median(accuracy)),
        "accuracy_deg_worst": float(np.max(accuracy)),
        "goal_deg": 0.3,
        "models": {name: models.count(name) for name in sorted(set(models))},
    }


def clock(_model: str, _out: Path) -> Result:
    """Offsets up to 350 ms on simulated heads, 12 seeds a length."""
    found: Result = {"goal_ms": 5.0}
    for length_s in (5.0, 10.0, 30.0):
        errors = []
        for seed in range(12):
            offset_ms = float(np.random.default_rng(seed).uniform(-350, 350))
            estimate = estimate_offset(*recording(offset_ms, length_s, seed=seed))
            errors.append(error_ms(estimate, offset_ms))
        found[f"{length_s:.0f} s"] = {
            "median_ms": float(np.median(errors)), "worst_ms": float(np.max(errors))
        }  # fmt: skip
    return found


PARTS: dict[str, Callable[[str, Path], Result]] = {
    "davis": bench("davis", "--peer-every", "10"),
    "memory_davis": bench("memory", "--sets", "davis"),
    "memory_synthetic": bench("memory", "--sets", "synthetic"),
    "memory_cutouts": bench("memory", "--sets", "cutouts"),
    "instances": bench("instances", "--limit", "80"),
    "vidln": bench("vidln"),
    "synthetic": bench("synthetic", "--scenes", "30"),
    "replays": replays,
    "scale": scale,
    "gaze": gaze,
    "clock": clock,
}


def flat(value: Any, path: str = "") -> dict[str, str]:
    """Nested result -> name and figure, a line each; long lists and texts are left to the JSON."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{path} {key}").items()}
    if isinstance(value, float):
        return {path.strip(): f"{value:.4g}"}
    return {path.strip(): str(value)} if isinstance(value, int | str | bool) else {}


def write_page(out: Path) -> None:
    """figures.md of every result in ``out``, in the order of PARTS."""
    lines = ["# Figures of evaluation and calibration", ""]
    for part in PARTS:
        path = out / f"{part}.json"
        if path.is_file():
            rows = flat(json.loads(path.read_text(encoding="utf-8")))
            lines += [f"## {part}", "", "| figure | value |", "|---|---|"]
            lines += [f"| {name} | {text} |" for name, text in rows.items()] + [""]
    (out / "figures.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> int:
    """Run the parts asked for; one that fails is told and the rest go on. Status 1 then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for part in arguments.only:
        started_s = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            try:
                result = PARTS[part](arguments.model, Path(scratch))
            except (subprocess.CalledProcessError, OSError, ValueError) as error:
                failed.append(part)
                print(f"{part}: failed, {error}", file=sys.stderr)
                continue
        load = [round(value, 2) for value in os.getloadavg()]
        result = {**result, "took_s": time.perf_counter() - started_s, "load_average": load}
        (arguments.out / f"{part}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        print(f"{part}: {result['took_s']:.0f} s", flush=True)
        write_page(arguments.out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
