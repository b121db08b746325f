"""What each of the paper's stages trains (METHOD, training), and how the rest is kept as it is.

Freezing is per parameter. Where only the rows of new tokens train, their whole table gets a
gradient and the rows of known tokens are set to 0 in it: with AdamW and no decay they then stay bit
for bit.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tracevlm_ros.core.errors import ConfigError

NANO_GROUPS: dict[str, tuple[str, ...]] = {
    "vision": ("visual.",),
    "tvp": ("tvp.",),
    "language": ("model.",),
    "segmentation": ("pixel_decoder.",),
}
QWEN_GROUPS: dict[str, tuple[str, ...]] = {
    "vision": ("model.visual.",),
    "tvp": ("tvp.", "trace_gate"),
    "language": ("model.language_model.", "lm_head."),
    "segmentation": ("feature_maps.", "pixel_decoder."),
}
NANO_TABLES = ("model.embed_tokens.weight",)
QWEN_TABLES = ("model.language_model.embed_tokens.weight", "lm_head.weight")
TRAINED: dict[str, tuple[str, ...]] = {
    "1": ("tvp",),
    "1.5": ("vision", "tvp", "language", "segmentation"),
    "2": ("language",),
}


class Trainable(NamedTuple):
    """``total`` numbers train; ``groups`` counts them by part. ``rows`` are the rows that train of
    tables of which not all do."""

    total: int
    groups: dict[str, int]
    rows: dict[str, tuple[int, ...]]


def freeze(
    network: nn.Module,
    groups: Mapping[str, tuple[str, ...]],
    trained: tuple[str, ...],
    tables: Mapping[str, tuple[int, ...]],
) -> Trainable:
    """Let ``trained`` groups learn, and of each of ``tables`` at least the rows given.

    ConfigError when a group or table that should train has no parameter.
    """
    prefixes = tuple(prefix for name in trained for prefix in groups[name])
    counts: dict[str, int] = {}
    rows: dict[str, tuple[int, ...]] = {}
    for name, parameter in network.named_parameters():
        whole = name.startswith(prefixes)
        parameter.requires_grad_(whole or name in tables)
        if whole:
            group = next(g for g, own in groups.items() if name.startswith(own))
            counts[group] = counts.get(group, 0) + parameter.numel()
        elif name in tables:
            rows[name] = tables[name]
            counts["new tokens"] = (
                counts.get("new tokens", 0) + len(tables[name]) * parameter.shape[1]
            )
    missing = [group for group in trained if not counts.get(group)]
    if missing:
        raise ConfigError(f"nothing of '{missing[0]}' is in this network; its names have changed")
    return Trainable(sum(counts.values()), counts, rows)


class RowGate:
    """Sets the gradients of rows that must not change to 0; works on sharded tables too."""

    def __init__(self, network: nn.Module, rows: Mapping[str, tuple[int, ...]]) -> None:
        self._gates = []
        for name, parameter in network.named_parameters():
            if name in rows:
                gate = torch.zeros(parameter.shape[0], 1)
                gate[list(rows[name])] = 1.0
                gate = gate.to(parameter.device, parameter.dtype)
                if isinstance(parameter, DTensor):
                    gate = distribute_tensor(gate, parameter.device_mesh, parameter.placements)
                self._gates.append((parameter, gate))

    def apply(self) -> None:
        """After the gradients are complete, before they are measured."""
        for parameter, gate in self._gates:
            if parameter.grad is not None:
                parameter.grad.mul_(gate)
