"""What the training tests share: a tiny network, and batches of drawn scenes."""

from pathlib import Path

import torch

from training.data.batch import Batch
from training.data.sample import PATCH_CLASSES
from training.data.stream import DataConfig, Stream
from training.model.config import ModelConfig, tiny
from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.settings import OptimiserConfig, TrainConfig
from training.tokenizer import load_tokenizer, prompt_layout

DATA = DataConfig(images=2, traces_per_image=2)


def tiny_model(config: ModelConfig | None = None, seed: int = 0) -> TraceVLM:
    torch.manual_seed(seed)
    return TraceVLM(config or tiny(), PATCH_CLASSES)


def tiny_stream(seed: int = 0, config: ModelConfig | None = None) -> Stream:
    model = config or tiny()
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.vision.merged_grid)
    return Stream(DATA, model, tokenizer, layout, seed)


def tiny_batch(seed: int = 0) -> Batch:
    return tiny_stream(seed).joint(0)


def random_traces(count: int, slots: int, valid: int, seed: int = 0) -> TraceBatch:
    """``count`` traces with ``valid`` of ``slots`` keypoints, the second of each after a lift."""
    random = torch.Generator().manual_seed(seed)
    pen_up = torch.zeros(count, slots)
    pen_up[:, 1] = 1.0
    return TraceBatch(
        torch.rand(count, slots, 2, generator=random),
        torch.rand(count, slots, generator=random),
        pen_up,
        (torch.arange(slots) < valid).float().repeat(count, 1),
    )


def tiny_run(**changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "model": "tiny",
        "steps": 6,
        "save_every": 100,
        "evaluate_every": 0,
        "threads": 1,
        "data": DATA,
        "optimiser": OptimiserConfig(rate=3e-3, warmup=1, decay=1),
    }
    return TrainConfig(**{**values, **changes})  # type: ignore[arg-type]


def instances_train() -> Path:
    """The photo folder beside the project; may not exist."""
    return Path(__file__).parents[3] / "shared" / "data" / "instances_train"
