"""A results folder of ``gpu_run.sh`` as one table: goals, and the peers of the same run.

    python benchmarks/gpu_summary.py FOLDER

Under each model its goals, with what was found and whether it is met. A caption in FP8 has to take
less time than that of the same preset in another precision. Then `transformers`, eager and compiled
with a static cache, and how many times faster the engine was. Last the machine, the versions and
the command of each file.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tracevlm_ros.cli.goals import goal_lines, judged
from tracevlm_ros.cli.run_facts import facts_lines

GOALS, PEERS = "-goals.json", "-transformers.json"
FP8 = "fp8"
Found = dict[str, Any]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    print("\n".join(summary(Path(sys.argv[1]))))
    return 0


def summary(folder: Path) -> list[str]:
    """The lines of the table. ``PRESET-PRECISION-goals.json`` belongs to
    ``PRESET-transformers.json``."""
    goals, peers = read(folder, GOALS), read(folder, PEERS)
    lines: list[str] = []
    for found in goals.values():
        lines += model_lines(found)
    for preset in dict.fromkeys(name.rpartition("-")[0] for name in goals):
        ours = {name.rpartition("-")[2]: row for name, row in goals.items()
                if name.rpartition("-")[0] == preset}  # fmt: skip
        lines += fp8_lines(preset, ours)
    for preset, found in peers.items():
        lines += peer_lines(found)
        for name, row in goals.items():
            if name.rpartition("-")[0] == preset:
                lines += ratio_lines(row, found)
    for name, found in {**goals, **peers}.items():
        lines += [f"{name}:", *(f"  {line}" for line in facts_lines(found["run"]))]
    return lines


def read(folder: Path, ending: str) -> dict[str, Found]:
    """Name without ``ending`` -> content; files of failed steps, which are empty, are left out."""
    return {
        path.name.removesuffix(ending): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"*{ending}"))
        if path.stat().st_size
    }


def model_lines(found: Found) -> list[str]:
    copy, first = found["copy"], found["first_token"]
    lines = [
        "{model}, {precision}, {flavour}, on {backend}".format(**found),
        f"  copy on {copy['device']} {copy['gb_per_s']} GB/s",
        f"  decode {found['decode']['median_ms']} ms a token",
        f"  prompt of {first['prompt_tokens']} tokens, picture {{}}x{{}}".format(
            *found["image_size_hw"]
        ),
    ]
    lines += [f"  {line}" for line in goal_lines(found["goals"])]
    return lines + [f"  note: {note}" for note in found["notes"]]


def fp8_lines(preset: str, ours: dict[str, Found]) -> list[str]:
    """``ours``: precision -> what was found."""
    others = [name for name in ours if name != FP8]
    if FP8 not in ours or not others:
        return [f"{preset}: a caption in {FP8} beside another precision was not measured"]
    limits = {
        f"{FP8}_over_{name}": ours[FP8]["caption"]["median_ms"] / ours[name]["caption"]["median_ms"]
        for name in others
    }
    rows = judged(dict.fromkeys(limits, ("below", 1.0)), limits)
    return [f"{preset}, caption:", *(f"  {line}" for line in goal_lines(rows))]


def peer_lines(found: Found) -> list[str]:
    lines = [
        "{preset}, {dtype}, transformers {transformers} on {device}, torch.compile by "
        "{compiler}".format(**found),
        f"  vision {found['vision']['median_ms']} ms, compiled "
        f"{found['vision_compiled']['median_ms']} ms",
    ]
    for name in ("eager", "static"):
        row = found[name]
        lines.append(
            f"  {name:<7} first token {row['first_token']['median_ms']} ms, token "
            f"{row['decode']['median_ms']} ms, caption {row['caption']['median_ms']} ms"
            f" ({row['compiled_graphs']} graphs compiled)"
        )
    return lines


def ratio_lines(ours: Found, peers: Found) -> list[str]:
    """How many times faster the engine was than each peer."""
    lines = []
    for name in ("eager", "static"):
        times = {
            what: peers[name][what]["median_ms"] / ours[what]["median_ms"]
            for what in ("first_token", "decode", "caption")
        }
        said = ", ".join(f"{what.replace('_', ' ')} {ratio:.2f}" for what, ratio in times.items())
        lines.append(f"  engine in {ours['precision']} over {name}: {said} times faster")
    return lines


if __name__ == "__main__":
    sys.exit(main())
