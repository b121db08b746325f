"""Where a run computes."""

from typing import Any

import torch
from torch import Tensor

from tracevlm_ros.core.errors import ConfigError


def training_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one. Raises ConfigError for cuda without a GPU."""
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ConfigError("device is 'cuda' and PyTorch sees no GPU; set device=cpu or auto")
    return torch.device("cuda" if present and name != "cpu" else "cpu")


def repeat_exactly(device: torch.device, required: bool = True) -> None:
    """Let the same step give the same bits, at least a warning where a GPU cannot. Memory that
    nothing has written stays unfilled, as nothing reads it: filling took a seventh of a step."""
    torch.use_deterministic_algorithms(required, warn_only=device.type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def round_products(device: torch.device) -> None:
    """Let a GPU round the factors of fp32 products to 10 bits (TF32), some eight times faster."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def to_device(batch: Any, device: torch.device) -> Any:
    """Every tensor of nested tuples and mappings on ``device``; other values stay as they are."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch
