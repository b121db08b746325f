"""Runs the paper's stages 1, 1.5 and 2 on packed rows, in one process or under ``torchrun``.

A step is: micro-batches of this process, their counts summed over all processes, sums of the terms
divided by these counts, gradients, one update. So the same streams give the same step however many
processes share them. Nothing of a step is random: weights after a resume are bit-identical.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from tracevlm_ros.core.errors import ConfigError
from training.data.naming import open_data
from training.data.packed_stream import PackedStream
from training.data.sharding import ShardConfig
from training.devices import repeat_exactly, round_products
from training.stages import parallel
from training.stages.building import Built, build, picture_side, tree_plan
from training.stages.feeding import MicroBatch, MicroStream, own_streams, read_ahead
from training.stages.freezing import TRAINED, RowGate, Trainable, freeze
from training.stages.progress import Progress
from training.stages.settings import StageConfig
from training.stages.snapshots import RunState, Snapshots, read_run_state
from training.stages.validation import Validation

TERMS = ("text", "ref", "dice")


class StageTrainer:
    """A run in ``folder``; it goes on from the newest snapshot there. ``initial`` gives the weights
    of a nano checkpoint to start from."""

    def __init__(
        self,
        config: StageConfig,
        folder: Path,
        initial: Path | None = None,
        say: Callable[[str], None] = print,
        built: Built | None = None,
    ) -> None:
        self.config, self.folder = config, folder
        self.processes = parallel.join(config.device)
        _require_shares(config, self.processes)
        torch.set_num_threads(config.threads)
        repeat_exactly(self.processes.device)
        round_products(self.processes.device)
        self.built = built or build(config, initial)
        self.stage = self.built.stage
        self.trainable = freeze_stage(config, self.built)
        if config.compile:
            parallel.compile_layers(self.stage.layers())
        if config.checkpointing:
            parallel.recompute(self.stage.layers(), config.keep_products)
        parallel.shard(self.stage, self.stage.layers(), self.processes)
        self._gate = RowGate(self.stage.network, self.trainable.rows)
        self.parameters = [p for p in self.stage.network.parameters() if p.requires_grad]
        self.optimiser = make_optimiser(config, self.stage.network, self.trainable)
        self.step, self._seconds, self._stop = 0, 0.0, False
        self._states: dict[str, Any] = {}
        self.snapshots = Snapshots(folder, config.keep, self.processes)
        newest = self.snapshots.newest()
        if newest is not None:
            self._resume(newest)
        self._streams = self._open_streams()
        self.stage.train()
        self.progress = Progress(
            folder, config.steps, say, self.processes.is_first, config.tensorboard
        )
        self.progress.say(
            f"stage {config.stage}: {self.trainable.total:,} numbers train "
            f"({_listed(self.trainable.groups)}), step {self.step} of {config.steps}"
        )

    def run(self, until: int | None = None) -> None:
        """Train to ``until`` (default: the configured steps); SIGTERM or SIGINT ends the step,
        saves and stops."""
        last = self.config.steps if until is None else min(until, self.config.steps)
        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, self._request_stop) for number in numbers}
        started, before = time.monotonic(), self._seconds
        validation = Validation(self.config, self.stage, self.processes)
        try:
            with self.progress:
                while self.step < last and not self._all_stop():
                    record = self.train_one()
                    self._seconds = before + time.monotonic() - started
                    self.progress.step(record)
                    if validation.is_due(self.step):
                        self.progress.validation(self.step, validation.scores())
                    if self.step % self.config.save_every == 0:
                        self.save()
                self.save()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def save(self) -> None:
        """Write a snapshot of this step. InputError when it cannot be written."""
        streams: dict[str, Any] = {}
        for part in self.processes.gather(self._states):
            streams.update(part)
        state = RunState(self.config.as_mapping(), self.step, self._seconds, streams)
        self.snapshots.save(self.stage.network, self.optimiser, state)

    def train_one(self) -> dict[str, float]:
        """One step; what the log holds of it."""
        started = time.monotonic()
        batches = {number: next(stream) for number, stream in self._streams.items()}
        waited = time.monotonic() - started
        for number, batch in batches.items():
            self._states[str(number)] = batch.state
        tokens, masks, samples = self.processes.total(
            [
                sum(b.counts.tokens for b in batches.values()),
                sum(b.counts.masks for b in batches.values()),
                sum(b.samples for b in batches.values()),
            ]
        )
        sums = self._accumulate(list(batches.values()), max(tokens, 1.0), max(masks, 1.0))
        parallel.complete_gradients(self.parameters, self.processes)
        self._gate.apply()
        norm = parallel.clip(self.parameters, self.config.schedule.clip)
        text, ref, dice = self.processes.total(sums)
        if not math.isfinite(norm + text + ref + dice):
            raise ConfigError(
                f"step {self.step + 1}: text {text}, ref {ref}, dice {dice}, gradient norm {norm}; "
                f"lower schedule.rate {self.config.rate:.2g}, or compute in bf16 or fp32"
            )
        share = self.config.schedule.share_at(self.step, self.config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate * share
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return {
            "step": self.step,
            "text": text,
            "ref": ref,
            "dice": dice,
            "norm": norm,
            "rate": self.config.rate * share,
            "samples": samples,
            "tokens": tokens,
            "masks": masks,
            "epochs": min(b.epochs for b in batches.values()),
            "wait_s": waited,
            "step_s": time.monotonic() - started,
        }

    def _accumulate(self, batches: list[MicroBatch], tokens: float, masks: float) -> list[float]:
        """Gradients of the mean over the whole step; the weighted terms of this process."""
        loss, sums = self.config.loss, [0.0, 0.0, 0.0]
        scales = (loss.text / tokens, loss.ref / masks, loss.dice / masks)
        for micro in batches:
            batch = self.stage.to_device(micro.batch, self.processes.device)
            terms = self.stage(batch)
            parts = [terms[name] * scale for name, scale in zip(TERMS, scales, strict=True)]
            # Sharding averages gradients over processes; the step's counts already hold all.
            _backward(sum(parts) * self.processes.world)
            sums = [total + float(part.detach()) for total, part in zip(sums, parts, strict=True)]
        return sums

    def _open_streams(self) -> dict[int, Iterator[MicroBatch]]:
        config = self.config
        numbers = own_streams(config.micro_batches, self.processes.rank, self.processes.world)
        self._states = {key: s for key, s in self._states.items() if int(key) in numbers}
        length = config.packing.length
        return {
            number: read_ahead(
                MicroStream(
                    partial(open_stream, config, self.stage, number),
                    self.stage,
                    config.rows,
                    length,
                    self._states.get(str(number)),
                ),
                in_process=not config.workers,
            )
            for number in numbers
        }

    def _resume(self, path: Path) -> None:
        require_same_settings(path, self.config)
        state = self.snapshots.load(path, self.stage.network, self.optimiser)
        self.step, self._seconds, self._states = state.step, state.seconds, state.streams

    def _all_stop(self) -> bool:
        return self.processes.total([float(self._stop)])[0] > 0

    def _request_stop(self, number: int, _: FrameType | None) -> None:
        self.progress.say(f"signal {number}: saving after this step")
        self._stop = True


def require_same_settings(path: Path, config: StageConfig) -> None:
    """ConfigError unless the snapshot ``path`` is of a run of ``config``."""
    stored = StageConfig.of_mapping(read_run_state(path).config).fixed()
    for key, mine in config.fixed().items():
        if stored[key] != mine:
            raise ConfigError(
                f"{path} has {key} {stored[key]!r}, asked is {mine!r}; use another --out or the "
                "same settings"
            )


def _backward(loss: Any) -> None:
    torch.autograd.backward(loss)


def freeze_stage(config: StageConfig, built: Built) -> Trainable:
    """Freeze for ``config.stage``; see ``freezing.TRAINED``."""
    trained = TRAINED[config.stage]
    if config.stage == "2" and config.train_tvp:
        trained = ("tvp", *trained)
    tables = built.tables if config.stage == "1" else {}
    return freeze(built.stage.network, built.groups, trained, tables)


def make_optimiser(
    config: StageConfig, network: nn.Module, trainable: Trainable
) -> torch.optim.AdamW:
    """AdamW; decay for matrices alone, and none for tables of which only some rows train."""
    schedule = config.schedule
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if p.dim() >= 2 and name not in trainable.rows]
    chosen = {id(p) for p in decayed}
    rest = [p for _, p in trained if id(p) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": schedule.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    present = [group for group in groups if group["params"]]
    on_gpu = all(p.is_cuda for _, p in trained)
    kind: dict[str, bool] = {"fused": True} if on_gpu else {"foreach": False}
    return torch.optim.AdamW(present, lr=config.rate, betas=schedule.betas, **kind)


def open_stream(config: StageConfig, stage: Any, number: int) -> PackedStream:
    """Stream ``number`` of the run, from its beginning."""
    trees = stage.tree_config(tree_plan(config))
    readers = open_data(config.data, picture_side(stage, config), config.exclude)
    sharding = ShardConfig(seed=config.seed, rank=number, world=config.micro_batches)
    return PackedStream(readers, stage.encoder, trees, config.packing, sharding)


def _require_shares(config: StageConfig, processes: parallel.Processes) -> None:
    if config.micro_batches % processes.world:
        raise ConfigError(
            f"micro_batches is {config.micro_batches}, processes are {processes.world}; give a "
            "multiple, so that each takes as many"
        )


def _listed(groups: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in groups.items())
