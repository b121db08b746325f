"""Labels per patch and per trace: what made grounding emerge from little data (FACTS, section 7).

Training only; the exported graphs do not hold these heads.
"""

import torch
from torch import Tensor, nn

IGNORED = -100


class PatchHeads(nn.Module):
    """Deep features (B, C, g, g) -> logits per label group, (B, classes, g, g) each."""

    def __init__(self, width: int, classes: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(width, count, 1) for name, count in classes.items()}
        )

    def forward(self, deep: Tensor) -> dict[str, Tensor]:
        return {name: head(deep) for name, head in self.heads.items()}


class TraceHeads(nn.Module):
    """Refined trace tokens (T, K, D), 0 where padded -> logits per label group, (T, classes)."""

    def __init__(self, width: int, classes: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * width, count) for name, count in classes.items()}
        )

    def forward(self, trace: Tensor, valid: Tensor) -> dict[str, Tensor]:
        count = valid.sum(1, keepdim=True).clamp(min=1.0)
        pooled = torch.cat([trace.sum(1) / count, trace.amax(1)], dim=-1)
        return {name: head(pooled) for name, head in self.heads.items()}
