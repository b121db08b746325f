"""The whole graph on the bundled recording, then a report of what came out of it.

Plays the bag through real ROS 2 nodes in processes of their own (player, gaze_caption, recorder),
prints captions as they are finished, and scores the recorded output. The two commands that do the
work are shown, to be used on recordings of your own.
"""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Protocol

from tracevlm_ros.cli import evaluate
from tracevlm_ros.cli import run as run_command
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.sample_bag import sample_bag_path

_PARTS = ("recording", "report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="results")
    parser.add_argument("--model", default="", help="model directory (default: the built-in one)")
    parser.add_argument("--bag", type=Path, help="another bag than the bundled one")
    parser.add_argument(
        "--rate", type=float, default=0.6, help="speed (default 0.6: two slow cores drop nothing)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run both commands; the status of the first that fails."""
    bag = arguments.bag or sample_bag_path()
    recording, report = _fresh_folders(arguments.out)
    live = ["--bag", str(bag), "--record", str(recording), "--rate", str(arguments.rate)]
    if arguments.model:
        live += ["--model", arguments.model]
    scored = [str(bag), "--recorded", str(recording), "--report", str(report), "--overlay"]
    status = _command("run", run_command, live) or _command(
        "evaluate", evaluate, [*scored, "--no-java"]
    )
    if status == 0:
        print(f"\nvideo, bag and report are in {arguments.out}/")
        for path in sorted([*report.rglob("*.mp4"), *report.glob("*.html"), recording]):
            print(f"  {path}")
    return status


def _fresh_folders(out: Path) -> tuple[Path, Path]:
    """``out/recording`` and ``out/report``; those of an earlier demo are removed."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    for part in _PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    return out / _PARTS[0], out / _PARTS[1]


class _CommandModule(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def _command(name: str, module: _CommandModule, words: list[str]) -> int:
    """Say and run ``tracevlm name words``."""
    print(f"\n$ tracevlm {name} {shlex.join(words)}", flush=True)
    parser = argparse.ArgumentParser(prog=f"tracevlm {name}")
    module.add_arguments(parser)
    return module.run(parser.parse_args(words))
