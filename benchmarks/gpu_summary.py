"""A results folder of ``gpu_run.sh`` as one table: goals, and the peers of the same run.

python benchmarks/gpu_summary.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    for path in sorted(folder.glob("*-goals.json")):
        print("\n".join(goal_lines(json.loads(path.read_text(encoding="utf-8")))))
    for path in sorted(folder.glob("*-transformers.json")):
        print("\n".join(peer_lines(json.loads(path.read_text(encoding="utf-8")))))
    return 0


def goal_lines(found: dict[str, Any]) -> list[str]:
    copy = found["copy"]
    lines = [
        "{model}, {precision}, {flavour}, on {backend}".format(**found),
        f"  copy on {copy['device']} {copy['gb_per_s']} GB/s",
        f"  decode {found['decode']['median_ms']} ms a token",
    ]
    lines += [
        f"  {name:<15} {row['found']:<10} {row['goal']:<15} {'met' if row['met'] else 'NOT met'}"
        for name, row in found["goals"].items()
    ]
    return lines + [f"  note: {note}" for note in found["notes"]]


def peer_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "{preset}, {dtype}, transformers {transformers} on {device}".format(**found),
        f"  vision {found['vision']['median_ms']} ms",
    ]
    for name in ("eager", "static"):
        row = found[name]
        lines.append(
            f"  {name:<7} first token {row['first_token']['median_ms']} ms, token "
            f"{row['decode']['median_ms']} ms, caption {row['caption']['median_ms']} ms"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
