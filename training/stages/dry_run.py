"""What can be checked at minute one, so that no run dies of it at hour three.

Data, freezes, memory and disk are looked at first; then one whole step, validation and snapshot are
done in a folder that is removed again. The first thing that is wrong is one clear error.
"""

import dataclasses
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.packed_stream import PackedStream
from training.model.config import QWEN_PRESETS
from training.model.qwen.folder_config import read_qwen_config
from training.model.qwen.network import TraceQwen
from training.stages.building import Built, build
from training.stages.freezing import QWEN_GROUPS, QWEN_TABLES, TRAINED, freeze
from training.stages.settings import StageConfig
from training.stages.snapshots import newest_snapshot
from training.stages.trainer import (
    StageTrainer,
    freeze_stage,
    open_stream,
    require_same_settings,
)

ROWS = 8
_GIB = 1 << 30
_MOMENTS = 2


class Needs(NamedTuple):
    """Bytes of one whole copy: ``states`` are weights, gradients and moments of AdamW,
    ``snapshot`` what a snapshot takes on disk."""

    states: int
    snapshot: int


def dry_run(
    config: StageConfig, folder: Path, initial: Path | None, say: Callable[[str], None]
) -> None:
    """Raise the ConfigError or InputError that the run would meet; say what was found."""
    newest = newest_snapshot(folder)
    if newest is not None:
        require_same_settings(newest, config)
    needs = needs_of(config)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    free = free_memory(config)
    say(f"memory: weights, gradients and optimiser {needs.states / world / _GIB:.2f} GiB a process,"
        f" {free / _GIB:.2f} GiB free")  # fmt: skip
    if needs.states / world > free:
        raise ConfigError(
            f"weights, gradients and optimiser need {needs.states / world / _GIB:.1f} GiB, "
            f"{free / _GIB:.1f} GiB are free; take more processes (now {world}), weights=bf16 or a "
            "stage that trains less"
        )
    check_disk(folder, (config.keep + 1) * needs.snapshot, say)
    built = build(config, initial)
    trainable = freeze_stage(config, built)
    frozen = sum(p.numel() for p in built.stage.network.parameters()) - trainable.total
    groups = ", ".join(f"{name} {count:,}" for name, count in trainable.groups.items())
    say(f"freezes: {trainable.total:,} numbers train ({groups}), {frozen:,} stay")
    _check_data(config, built, say)
    _try_one_step(config, folder, built, say)


def needs_of(config: StageConfig) -> Needs:
    """Counted without building anything big."""
    if not config.is_qwen or config.model == "tiny-qwen":
        built = build(config)
        network, trained = built.stage.network, freeze_stage(config, built).total
    else:
        sizes = (
            read_qwen_config(Path(config.backbone))
            if config.backbone
            else QWEN_PRESETS[config.model]()
        )
        with torch.device("meta"):
            network = TraceQwen(sizes)
        groups = TRAINED[config.stage]
        if config.stage == "2" and config.train_tvp:
            groups = ("tvp", *groups)
        present = {name for name, _ in network.named_parameters()}
        tables = {name: (0,) for name in QWEN_TABLES if name in present}
        freeze(network, QWEN_GROUPS, groups, tables if config.stage == "1" else {})
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    size = 2 if config.weights == "bf16" else 4
    weights = size * sum(p.numel() for p in network.parameters())
    return Needs(weights + size * trained * (1 + _MOMENTS), weights + size * trained * _MOMENTS)


def free_memory(config: StageConfig) -> int:
    """Bytes that this process may take on the device of the run."""
    if config.device != "cpu" and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62


def check_disk(folder: Path, wanted: int, say: Callable[[str], None]) -> None:
    """InputError unless ``wanted`` bytes are free where ``folder`` is or will be."""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    say(f"disk: snapshots take up to {wanted / _GIB:.2f} GiB, {free / _GIB:.2f} GiB free")
    if wanted > free:
        raise InputError(
            f"{place} has {free / _GIB:.1f} GiB free, snapshots take {wanted / _GIB:.1f} GiB; make "
            "room, choose another --out or lower keep"
        )


def _check_data(config: StageConfig, built: Built, say: Callable[[str], None]) -> None:
    """Pack a few rows of every stream. InputError where nothing can be packed."""
    for number in range(min(2, config.micro_batches)):
        stream = open_stream(config, built.stage, number)
        rows = [next(stream) for _ in range(ROWS)]
        samples = [sample for row in rows for sample in row.samples]
        tokens = sum(len(sample.sequence.ids) for sample in samples)
        tasks = sorted({sample.branch.task.value for sample in samples})
        full = tokens / ROWS / config.packing.length
        say(
            f"data, stream {number}: {stream.records} records, {len(samples) / ROWS:.1f} samples a "
            f"row, rows {full:.0%} full, {_steps(config, stream)} steps an epoch; tasks "
            f"{', '.join(tasks)}; left out {dict(stream.drops)}"
        )


def _steps(config: StageConfig, stream: PackedStream) -> int:
    """About how many steps go once through the data, by the records that ``ROWS`` rows took."""
    rows_an_epoch = ROWS / max(1, int(stream.state_dict()["taken"])) * stream.records
    return max(1, round(rows_an_epoch / (config.micro_batches * config.rows)))


def _try_one_step(
    config: StageConfig, folder: Path, built: Built, say: Callable[[str], None]
) -> None:
    scratch = folder / "dry_run"
    plan = dataclasses.replace(config.validation, first=1, every=max(1, config.validation.every))
    config = dataclasses.replace(config, validation=plan, tensorboard=False)
    try:
        trainer = StageTrainer(config, scratch, say=lambda _: None, built=built)
        trainer.run(until=1)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"one step, validation and snapshot: fine; peak memory {peak_memory() / _GIB:.2f} GiB")


def peak_memory() -> int:
    """Most bytes that this process, or its part of the GPU, has held so far."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
