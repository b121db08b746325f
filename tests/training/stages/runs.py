"""What the tests of the paper's stages share: tiny runs that take a second a step or less."""

from pathlib import Path
from typing import Any

import torch

from training.data.packing import PackConfig
from training.stages.building import build
from training.stages.settings import ScheduleConfig, StageConfig, ValidationConfig
from training.stages.snapshots import load_network, newest_snapshot
from training.stages.trainer import StageTrainer

SCHEDULE = ScheduleConfig(rate=2e-3, warmup_share=0.2)


def tiny_stage(**changes: Any) -> StageConfig:
    values: dict[str, Any] = {
        "stage": "1.5",
        "model": "tiny",
        "data": ("synthetic:0:12",),
        "steps": 4,
        "packing": PackConfig(length=160, open_rows=2),
        "max_pixels": 56 * 56,
        "schedule": SCHEDULE,
        "validation": ValidationConfig(every=0),
        "tensorboard": False,
    }
    return StageConfig(**{**values, **changes})


def quiet(_: str) -> None:
    pass


def train(config: StageConfig, folder: Path, until: int | None = None) -> StageTrainer:
    trainer = StageTrainer(config, folder, say=quiet)
    trainer.run(until)
    return trainer


def weights_in(folder: Path, config: StageConfig) -> dict[str, torch.Tensor]:
    """Those of the newest snapshot."""
    network = build(config).stage.network
    newest = newest_snapshot(folder)
    assert newest is not None
    load_network(newest, network)
    return {name: value.clone() for name, value in network.state_dict().items()}


def differing(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == two.keys()
    return [name for name in one if not torch.equal(one[name], two[name])]
