import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.stages.runs import differing, quiet, tiny_stage, train, weights_in
from tracevlm_ros.core.errors import ConfigError
from training.stages.building import build
from training.stages.progress import LOG_NAME, TENSORBOARD_FOLDER
from training.stages.settings import ScheduleConfig, StageConfig, ValidationConfig
from training.stages.snapshots import newest_snapshot, read_run_state
from training.stages.trainer import StageTrainer, freeze_stage, open_stream


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "1.5", "order": "random"},
        {"stage": "1", "model": "tiny-qwen", "packing": {"length": 256}},
        {"stage": "2", "workers": True, "precision": "bf16"},
    ],
    ids=["nano", "qwen", "read-ahead"],
)
def test_a_run_in_pieces_ends_with_bit_identical_weights_and_streams(tmp_path, changes) -> None:
    config = StageConfig.of_mapping({**tiny_stage().as_mapping(), **changes})
    train(config, tmp_path / "whole")
    for until in (1, 3, 4):
        train(config, tmp_path / "pieces", until)
    whole, pieces = (weights_in(tmp_path / name, config) for name in ("whole", "pieces"))
    assert differing(whole, pieces) == []
    states = [read_run_state(newest_snapshot(tmp_path / name)) for name in ("whole", "pieces")]
    assert states[0].streams == states[1].streams
    assert set(states[0].streams) == {"0", "1"}
    assert any(state["rows"] for state in states[0].streams.values())


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.stages.runs import tiny_stage
from training.stages.trainer import StageTrainer
trainer = StageTrainer(tiny_stage(save_every=2), Path(sys.argv[1]))
step = trainer.train_one
def step_then_die():
    record = step()
    if trainer.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return record
trainer.train_one = step_then_die
trainer.run()
"""


def test_a_run_killed_between_saves_goes_on_as_if_nothing_had_been(tmp_path) -> None:
    config = tiny_stage(save_every=2)
    train(config, tmp_path / "whole")
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "killed")], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert newest_snapshot(tmp_path / "killed").name == "step_00000002"
    train(config, tmp_path / "killed")
    found = [weights_in(tmp_path / name, config) for name in ("whole", "killed")]
    assert differing(*found) == []


def test_a_stop_signal_saves_after_the_step_and_stops(tmp_path) -> None:
    trainer = StageTrainer(tiny_stage(), tmp_path, say=quiet)
    step = trainer.train_one

    def step_then_signal() -> dict[str, float]:
        record = step()
        if trainer.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return record

    trainer.train_one = step_then_signal
    trainer.run()
    assert newest_snapshot(tmp_path).name == "step_00000002"


@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
def test_losses_fall_and_are_logged_apart(tmp_path, model) -> None:
    schedule = ScheduleConfig(rate=1e-2, warmup_share=0.1)
    config = tiny_stage(model=model, steps=25, schedule=schedule, data=("synthetic:0:3",))
    if model == "tiny-qwen":
        config = dataclasses.replace(
            config, packing=dataclasses.replace(config.packing, length=256)
        )
    train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 26))
    terms = {"text", "ref", "dice", "norm", "rate", "samples", "tokens", "masks", "wait_s"}
    assert terms <= set(lines[0])
    first, last = (sum(line["text"] for line in part) for part in (lines[:5], lines[-5:]))
    assert last < 0.8 * first
    assert lines[0]["rate"] < lines[2]["rate"] > lines[-1]["rate"]


def test_tensorboard_holds_every_term(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validation = ValidationConfig(every=2, rows=1, answers=2)
    train(tiny_stage(steps=2, tensorboard=True, validation=validation), tmp_path)
    board = EventAccumulator(str(tmp_path / TENSORBOARD_FOLDER))
    board.Reload()
    tags = set(board.Tags()["scalars"])
    assert {"train/text", "train/ref", "train/dice", "train/rate", "train/wait_s"} <= tags
    assert {"validation/text", "validation/malformed"} <= tags
    assert [event.step for event in board.Scalars("train/text")] == [1, 2]
    assert [event.step for event in board.Scalars("validation/text")] == [1, 2]


def test_terms_are_sums_so_that_micro_batches_add_up(tmp_path) -> None:
    config = tiny_stage(data=("synthetic:0:40",))
    stage = build(config).stage.eval()
    streams = [open_stream(config, stage, number) for number in (0, 1)]
    rows = [next(stream) for stream in streams]
    together = stage(stage.collate(rows, 160))
    apart = [stage(stage.collate([row], 160)) for row in rows]
    for name in ("text", "ref", "dice"):
        assert together[name].item() == pytest.approx(
            sum(terms[name].item() for terms in apart), rel=1e-5
        )
    counts = [stage.counts(stage.collate([row], 160)) for row in rows]
    assert stage.counts(stage.collate(rows, 160)) == tuple(map(sum, zip(*counts, strict=True)))


def gradients_of_one_step(folder: Path, model: str, **how: bool) -> dict[str, Tensor | None]:
    config = StageConfig.of_mapping(
        {**tiny_stage(model=model).as_mapping(), "packing": {"length": 256}, **how}
    )
    trainer = StageTrainer(config, folder, say=quiet)
    trainer.optimiser.step = lambda: None
    trainer.optimiser.zero_grad = lambda set_to_none: None
    trainer.train_one()
    return {n: p.grad for n, p in trainer.stage.network.named_parameters()}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
def test_recomputing_layers_changes_no_gradient(tmp_path, model, keep) -> None:
    plain = gradients_of_one_step(tmp_path / "plain", model)
    again = gradients_of_one_step(tmp_path / "again", model, checkpointing=True, keep_products=keep)
    for name, gradient in plain.items():
        assert gradient is None or torch.allclose(gradient, again[name], atol=1e-7), name


def test_kept_products_are_not_made_again(tmp_path) -> None:
    """Matrix products of one step, counted: fewer than with all recomputed, as many as without."""
    counts = []
    for how in ({}, {"checkpointing": True}, {"checkpointing": True, "keep_products": True}):
        with ProductCounter() as counter:
            gradients_of_one_step(tmp_path / str(len(counts)), "tiny-qwen", **how)
        counts.append(counter.products)
    assert counts[1] > counts[0]
    assert counts[2] == counts[0]


class ProductCounter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.products += function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_compiled_layers_give_the_same_gradients(tmp_path) -> None:
    plain = gradients_of_one_step(tmp_path / "plain", "tiny-qwen")
    fused = gradients_of_one_step(tmp_path / "fused", "tiny-qwen", compile=True)
    for name, gradient in plain.items():
        if gradient is not None:
            torch.testing.assert_close(fused[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_ways_to_save_memory_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="checkpointing off"):
        tiny_stage(keep_products=True)
    with pytest.raises(ConfigError, match="keeps products by itself"):
        tiny_stage(keep_products=True, checkpointing=True, compile=True)


def test_tasks_come_in_the_papers_order_or_mixed() -> None:
    orders = {}
    for order in ("fixed", "random"):
        config = tiny_stage(stage="1", order=order, data=("synthetic:0:9",))
        built = build(config)
        freeze_stage(config, built)
        stream = open_stream(config, built.stage, 0)
        trees = {}
        for _ in range(4):
            for sample in next(stream).samples:
                trees[sample.tree.key] = [b.task.value for b in sample.tree.branches]
        orders[order] = list(trees.values())
    cycle = ["trace_caption", "trace_from_caption", "joint"]
    for tasks in orders["fixed"]:
        stills = [task for task in tasks if task in cycle]
        assert stills == (cycle * len(tasks))[: len(stills)] or set(tasks) == {"trace_caption"}
    assert any(tasks != sorted(tasks, key=cycle.index) for tasks in orders["random"])


def test_a_snapshot_of_other_settings_is_refused(tmp_path) -> None:
    train(tiny_stage(steps=1), tmp_path)
    with pytest.raises(ConfigError, match="seed"):
        StageTrainer(tiny_stage(seed=2), tmp_path, say=quiet)
    StageTrainer(tiny_stage(steps=9, save_every=7), tmp_path, say=quiet)


def test_the_rate_rises_and_falls_as_half_a_cosine() -> None:
    schedule = ScheduleConfig(warmup_share=0.1, floor=0.1)
    shares = [schedule.share_at(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == pytest.approx(1.0)
    assert shares[55] == pytest.approx(0.55)
    assert shares[99] == pytest.approx(0.1, abs=1e-3)
    assert StageConfig(stage="2").rate == 2e-5
