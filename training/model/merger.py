"""The patch merger of Qwen2.5-VL: 2x2 neighbouring patches become one language token."""

from torch import Tensor, nn

from training.model.layers import RMSNorm


class PatchMerger(nn.Module):
    """(B, C, g, g) -> (B, (g / merge)**2, D) in raster order of the merged grid.

    ``merge_blocks`` does the same for patches whose merged neighbours already follow each other.
    """

    def __init__(self, width: int, merge: int, token_width: int) -> None:
        super().__init__()
        self.merge = merge
        self.ln_q = RMSNorm(width)
        inner = width * merge * merge
        self.mlp = nn.Sequential(nn.Linear(inner, inner), nn.GELU(), nn.Linear(inner, token_width))

    def forward(self, grid: Tensor) -> Tensor:
        batch, width, side, _ = grid.shape
        m = self.merge
        x = self.ln_q(grid.permute(0, 2, 3, 1))
        x = x.reshape(batch, side // m, m, side // m, m, width).transpose(2, 3)
        out: Tensor = self.mlp(x.reshape(batch, (side // m) ** 2, m * m * width))
        return out

    def merge_blocks(self, patches: Tensor) -> Tensor:
        """(P, C) block by block -> (P / merge**2, D)."""
        blocks = self.ln_q(patches).reshape(-1, self.merge**2 * patches.shape[-1])
        out: Tensor = self.mlp(blocks)
        return out
