"""Dispatch of ``tracevlm COMMAND ...`` and ``tracevlm GROUP COMMAND ...``.

Only the module of the chosen command is imported, so that a robot without torch can run
everything that does not train, and ``tracevlm --help`` answers at once. A command module has
``add_arguments(parser)`` and ``run(arguments) -> int`` (the exit status).
"""

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tracevlm_ros import __version__
from tracevlm_ros.core.errors import TraceVLMError


class Command(NamedTuple):
    module: str
    summary: str


COMMANDS: dict[tuple[str, ...], Command] = {
    ("run",): Command("tracevlm_ros.cli.run", "video and gaze in, captions and masks out, live"),
    ("replay",): Command("tracevlm_ros.cli.replay", "publish a rosbag2 bag with /clock"),
    ("record",): Command("tracevlm_ros.cli.record", "record topics into an MCAP bag"),
    ("convert",): Command("tracevlm_ros.cli.convert", "eye tracker's recording -> bag"),
    ("evaluate",): Command("tracevlm_ros.cli.evaluate", "run bags offline, score them, report"),
    ("demo",): Command("tracevlm_ros.cli.demo", "the whole graph on the bundled bag"),
    ("bench", "simplify"): Command("tracevlm_ros.cli.bench_simplify", "trace simplification"),
    ("bench", "track"): Command("tracevlm_ros.cli.bench_track", "keypoint tracking"),
    ("bench", "engine"): Command("tracevlm_ros.cli.bench_engine", "a model: speed and memory"),
    ("bench", "node"): Command("tracevlm_ros.cli.bench_node", "latency of the node, no engine"),
    ("bench", "davis"): Command("tracevlm_ros.cli.bench_davis", "stroke -> masks through a clip"),
    ("bench", "memory"): Command("tracevlm_ros.cli.bench_memory", "parts of the mask memory"),
    ("bench", "instances"): Command("tracevlm_ros.cli.bench_instances", "stroke -> mask on photos"),
    ("bench", "vidln"): Command("tracevlm_ros.cli.bench_vidln", "real traces -> captions"),
    ("bench", "grounding"): Command("tracevlm_ros.cli.bench_grounding", "phrases -> masks"),
    ("bench", "synthetic"): Command("tracevlm_ros.cli.bench_synthetic", "scenes with known truth"),
    ("data", "synthetic"): Command("tracevlm_ros.cli.data_synthetic", "make a synthetic bag"),
    ("data", "stats"): Command("tracevlm_ros.cli.data_stats", "statistics of traces and gaze"),
    ("data", "info"): Command("training.data.info_command", "count training data ([train])"),
    ("data", "sheet"): Command("training.data.sheet_command", "a picture sheet of it ([train])"),
    ("data", "riln"): Command("training.riln.command", "make dialogues about traces ([train])"),
    ("train",): Command("training.command", "train a model (needs the extra [train])"),
    ("export",): Command("engine.export.command", "checkpoint -> model directory ([train])"),
    ("quantize",): Command("tracevlm_ros.cli.quantize", "model directory -> int8, fp8 or int4"),
    ("build",): Command("tracevlm_ros.cli.build", "model directory -> TensorRT plans"),
    ("view",): Command("tracevlm_ros.cli.view", "a bag or a graph in Rerun ([view])"),
    ("calibrate", "gaze"): Command("tracevlm_ros.cli.calibrate_gaze", "fit gaze to the image"),
    ("calibrate", "clock"): Command("tracevlm_ros.cli.calibrate_clock", "offset of gaze's clock"),
    ("calibrate", "quantize"): Command(
        "tracevlm_ros.cli.calibrate_quantize", "pick representative frames and traces from bags"
    ),
    ("doctor",): Command("tracevlm_ros.cli.doctor", "check this installation, tell remedies"),
}


_STATUS_OF_SIGPIPE = 141


def _find(words: Sequence[str]) -> tuple[str, ...] | None:
    return next((key for key in COMMANDS if tuple(words[: len(key)]) == key), None)


def _overview() -> str:
    rows = (f"  {' '.join(key):<18} {command.summary}" for key, command in COMMANDS.items())
    return "\n".join(["usage: tracevlm COMMAND ... (--help after a command tells more)", "", *rows])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a TraceVLMError becomes one line on stderr and exit status 1.

    Whoever reads the output may stop reading, as ``head`` does: that ends the command quietly.
    """
    try:
        status = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_output_closed():
            raise
        return _STATUS_OF_SIGPIPE
    return status


def _is_output_closed() -> bool:
    """Whether nobody reads standard output any more; what is left for it goes nowhere then."""
    output = sys.stdout.fileno()
    watch = select.poll()
    watch.register(output, 0)
    if not any(event & select.POLLERR for _, event in watch.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"tracevlm_ros {__version__}")
        return 0
    key = _find(words)
    if key is None:
        print(f"tracevlm: no command '{' '.join(words[:2])}'\n{_overview()}", file=sys.stderr)
        return 2
    try:
        return _run(key, words[len(key) :])
    except TraceVLMError as error:
        print(f"tracevlm {' '.join(key)}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(key: tuple[str, ...], words: list[str]) -> int:
    command = COMMANDS[key]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in (
            "tracevlm_ros",
            "engine",
            "training",
            "calibration",
        ):
            raise
        raise TraceVLMError(
            f"needs the Python package '{error.name}'; install tracevlm_ros with the extra that "
            "holds it (see README, Installation)"
        ) from error
    parser = argparse.ArgumentParser(
        prog=f"tracevlm {' '.join(key)}", description=module.__doc__ or command.summary
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())
