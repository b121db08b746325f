"""Pixel maps for the decoder, made from the patches of the Qwen encoder.

Nothing here is in a published checkpoint: these few layers are trained with the pixel decoder.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from training.model.config import QwenVisionConfig
from training.model.layers import RMSNorm
from training.model.qwen.layout import Grid, to_maps


class PixelMaps(NamedTuple):
    """One picture or clip, a row per temporal step: ``deep`` (F, C, rows, columns), ``shallow``
    (F, C_shallow, 2 rows, 2 columns), both fp32."""

    deep: Tensor
    shallow: Tensor


class FeatureMaps(nn.Module):
    """Patches in block order -> ``PixelMaps``; the shallow map is learned from an early block and
    from the embedded patch itself, each spread over 2 x 2 cells."""

    def __init__(self, config: QwenVisionConfig) -> None:
        super().__init__()
        self.merge = config.merge
        self.deep_norm = RMSNorm(config.width)
        self.shallow_up = nn.ConvTranspose2d(config.width, config.shallow_channels, 2, stride=2)
        self.embedded_up = nn.ConvTranspose2d(config.width, config.shallow_channels, 2, stride=2)

    def forward(self, deep: Tensor, early: Tensor, embedded: Tensor, grid: Grid) -> PixelMaps:
        """Each (P, C) of this ``grid`` alone, in any floating type."""
        normed = self.deep_norm(deep.float())
        early_map, own_map = (to_maps(x.float(), grid, self.merge) for x in (early, embedded))
        shallow = F.silu(self.shallow_up(early_map) + self.embedded_up(own_map))
        return PixelMaps(to_maps(normed, grid, self.merge), shallow)
