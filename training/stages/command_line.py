"""``tracevlm train --stage 1 | 1.5 | 2``: settings from a file and options, then a run."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import ConfigError, InputError
from training.stages.settings import StageConfig

OPTIONS = ("stage", "steps", "seed", "model", "backbone", "data")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    config = settings_of(arguments)
    if arguments.dry_run:
        from training.stages.dry_run import dry_run

        dry_run(config, arguments.out, arguments.initial, say)
        return 0
    from training.stages import parallel
    from training.stages.trainer import StageTrainer

    trainer = StageTrainer(config, arguments.out, arguments.initial, say=say)
    trainer.run()
    if trainer.processes.is_first and not config.is_qwen:
        say(f"weights for export and evaluation: {write_checkpoint(config, arguments.out)}")
    parallel.leave(trainer.processes)
    return 0


def write_checkpoint(config: StageConfig, folder: Path) -> Path:
    """The newest snapshot of a nano run as a checkpoint file, which ``tracevlm export``, ``train
    --evaluate`` and ``train --from`` read. InputError when it cannot be written."""
    import torch

    from training.checkpoint import Checkpoint, save_checkpoint
    from training.settings import TrainConfig
    from training.stages.building import build
    from training.stages.snapshots import newest_snapshot, read_run_state

    stage = build(config, folder).stage
    state = TrainConfig(model=config.model, paper=config.paper, seed=config.seed)
    newest = newest_snapshot(folder)
    run = None if newest is None else read_run_state(newest)
    path = folder / "checkpoint.pt"
    checkpoint = Checkpoint(
        config=state.as_mapping(),
        step=run.step if run else 0,
        seconds=run.seconds if run else 0.0,
        weights=stage.network.state_dict(),
        optimiser=[],
        random_state=torch.get_rng_state(),
        history=[],
    )
    try:
        save_checkpoint(path, checkpoint)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error}); make room, run again") from error
    return path


def settings_of(arguments: argparse.Namespace) -> StageConfig:
    """ConfigError or InputError naming what is wrong."""
    values: dict[str, Any] = {}
    if arguments.config is not None:
        try:
            values = json.loads(arguments.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{arguments.config} cannot be read as JSON ({error})") from error
    for name in OPTIONS:
        if getattr(arguments, name):
            values[name] = getattr(arguments, name)
    if arguments.rate is not None:
        values.setdefault("schedule", {})["rate"] = arguments.rate
    for change in arguments.set or ():
        _set(values, change)
    return StageConfig.of_mapping(values)


def _set(values: dict[str, Any], change: str) -> None:
    """``schedule.rate=1e-4``: a JSON value, or else a text."""
    path, mark, text = change.partition("=")
    if not mark:
        raise ConfigError(f"--set takes NAME=VALUE, not '{change}'")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *sections, name = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change}: '{section}' is a value, not a section")
    values[name] = value
