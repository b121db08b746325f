"""Muon for the matrices inside the network, AdamW for everything else, as one optimiser.

Muon orthogonalises the momentum of each matrix, which took the encoder further in the same number
of steps than AdamW alone (docs/training.md); its updates are scaled to the size of AdamW's.
"""

from typing import Any

import torch
from torch import nn

from training.settings import OptimiserConfig

_NOT_MUON = ("embed_tokens", "patch_heads", "order", "frame", "weights", "words", "places")


class Optimisers:
    """Several optimisers over disjoint parameters that step together."""

    def __init__(self, model: nn.Module, config: OptimiserConfig) -> None:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        inner = [p for name, p in trained if config.muon and _is_inner_matrix(name, p)]
        chosen = {id(p) for p in inner}
        outer = [p for _, p in trained if id(p) not in chosen]
        groups = [
            {"params": [p for p in outer if p.dim() >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in outer if p.dim() < 2], "weight_decay": 0.0},
        ]
        on_gpu = any(p.is_cuda for _, p in trained)
        self._members: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.95), capturable=on_gpu)
        ]
        self._scales = [1.0]
        if inner:
            self._members.append(
                torch.optim.Muon(
                    inner,
                    lr=config.rate,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
            self._scales.append(config.muon_scale)

    def step(self, rate: float) -> None:
        """One update with learning rate ``rate``, then forget the gradients."""
        self.update(rate)
        for member in self._members:
            member.zero_grad(set_to_none=True)

    def update(self, rate: float) -> None:
        """One update with learning rate ``rate``; the gradients stay."""
        for member, scale in zip(self._members, self._scales, strict=True):
            for group in member.param_groups:
                group["lr"] = rate * scale
            member.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [member.state_dict() for member in self._members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for member, state in zip(self._members, states, strict=True):
            member.load_state_dict(state)


def _is_inner_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Weights of linear layers between hidden states: no tables, codes, heads or convolutions."""
    return parameter.dim() == 2 and not any(part in _NOT_MUON for part in name.split("."))
