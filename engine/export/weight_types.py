"""The types that a network's large parts compute in."""

import torch
from torch import nn

PRECISIONS = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.bfloat16,
}
"""Precision -> the type outside of quantised products."""


def set_weight_type(module: nn.Module, dtype: torch.dtype) -> None:
    """Parameters become ``dtype``; buffers (rope and Fourier tables) stay as they are."""
    for owner in module.modules():
        for name, value in list(owner.named_parameters(recurse=False)):
            setattr(owner, name, nn.Parameter(value.detach().to(dtype), requires_grad=False))
