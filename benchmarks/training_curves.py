"""Draw the loss terms of training runs, run after run, into one PNG.

    python benchmarks/training_curves.py RUN [RUN ...] --out docs/images/training.png

RUN is a folder of `tracevlm train` (log.jsonl). A panel a term: every step in grey, the running
median of 51 steps in colour, the learning rate below. Runs are laid end to end.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TERMS = {"patch": "labels per patch", "trace": "labels per trace", "ref": "mask, BCE",
         "dice": "mask, DICE", "text": "words", "told": "words without a trace"}  # fmt: skip
WINDOW = 51

Record = dict[str, Any]


def records(run: Path) -> list[Record]:
    """The steps of a run; of a step that was done twice after a kill, the later one."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = {line["step"]: line for line in map(json.loads, lines) if "rate" in line}
    return [steps[number] for number in sorted(steps)]


def smooth(values: list[float]) -> list[float]:
    half = WINDOW // 2
    return [
        statistics.median(values[max(0, at - half) : at + half + 1]) for at in range(len(values))
    ]


def draw(runs: list[Path], out: Path) -> None:
    logs = [(run.name, records(run)) for run in runs]
    shown = [term for term in TERMS if any(term in log[0] for _, log in logs)]
    figure, axes = plt.subplots(len(shown) + 1, 1, sharex=True, figsize=(9, 2 * len(shown) + 2))
    start = 0
    for number, (name, log) in enumerate(logs):
        places = [start + record["step"] for record in log]
        for axis, term in zip(axes, shown, strict=False):
            if term in log[0]:
                values = [record[term] for record in log]
                axis.plot(places, values, color="0.85", linewidth=0.5)
                axis.plot(places, smooth(values), color=f"C{number}", label=name)
                axis.set_ylabel(TERMS[term])
        axes[-1].plot(places, [record["rate"] for record in log], color=f"C{number}", label=name)
        start = places[-1]
    axes[-1].set_ylabel("learning rate")
    axes[-1].set_xlabel("step")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    draw(arguments.runs, arguments.out)


if __name__ == "__main__":
    main()
