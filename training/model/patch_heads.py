"""Dense labels per patch: what made grounding emerge from little data (FACTS, section 7).

Training only; the exported graphs do not hold these heads.
"""

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
