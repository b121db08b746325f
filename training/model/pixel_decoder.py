"""The two-level pixel decoder: prompts and pixels attend both ways, level 0 guides level 1.

METHOD.md, model, segmentation. Level 0 works on the deep features with the TVP-enhanced tokens
added, level 1 on the shallow ones at twice the resolution, multiplied by 1 + sigmoid(mask of
level 0); a learned weighted sum of the two levels is the mask, at twice the shallow resolution.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.codebook import SCALES, CodebookFusion
from training.model.config import DecoderConfig
from training.model.trace_embedding import Fourier
from training.model.tvp import MASKED, CrossAttention, grid_centres


class TwoWayLayer(nn.Module):
    """Prompt tokens: self attention, read the pixels, MLP; then the pixels read the tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.self_attention = CrossAttention(channels, heads)
        self.token_reads_pixel = CrossAttention(channels, heads)
        self.pixel_reads_token = CrossAttention(channels, heads)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(4))

    def forward(
        self, tokens: Tensor, pixels: Tensor, code: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``tokens`` (T, 1 + K, C), ``pixels`` (T, P, C), ``code`` (P, C); bias hides padding."""
        tokens = self.norms[0](tokens + self.self_attention(tokens, tokens, tokens, bias))
        read = self.token_reads_pixel(tokens, pixels + code, pixels, torch.zeros(()))
        tokens = self.norms[1](tokens + read)
        tokens = self.norms[2](tokens + self.mlp(tokens))
        told = self.pixel_reads_token(pixels + code, tokens, tokens, bias)
        return tokens, self.norms[3](pixels + told)


class MaskLevel(nn.Module):
    """One level: pixels (T, C, h, w), prompt (T, D), trace (T, K, D) -> logits (T, 2h, 2w).

    ``centres`` (h * w, 2) are those of the pixels where the picture is not the square ``side``.
    """

    centres: Tensor

    def __init__(self, config: DecoderConfig, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.prompt_proj = nn.Linear(width, channels)
        self.trace_proj = nn.Linear(width, channels)
        self.layers = nn.ModuleList(
            TwoWayLayer(channels, config.heads) for _ in range(config.layers)
        )
        self.place = Fourier(6)
        self.code_proj = nn.Linear(24, channels)
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.smooth = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.hyper = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels // 2)
        )
        self.register_buffer("centres", grid_centres(side, side), persistent=False)

    def forward(
        self,
        pixels: Tensor,
        prompt: Tensor,
        trace: Tensor,
        valid: Tensor,
        centres: Tensor | None = None,
    ) -> Tensor:
        height, width = pixels.shape[-2:]
        code = self.code_proj(self.place(self.centres if centres is None else centres))
        hidden = torch.cat([torch.zeros_like(valid[:, :1]), (1.0 - valid) * MASKED], dim=1)
        bias = hidden[:, None, None, :]
        tokens = torch.cat([self.prompt_proj(prompt)[:, None], self.trace_proj(trace)], dim=1)
        flat = pixels.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens, flat = layer(tokens, flat, code, bias)
        grid = flat.transpose(1, 2).reshape(-1, flat.shape[2], height, width)
        fine = F.gelu(self.smooth(F.gelu(self.up(grid))))
        weights = self.hyper(tokens[:, 0])
        channels = fine.shape[1]
        logits: Tensor = weights[:, None] @ fine.flatten(2) * channels**-0.5
        return logits.reshape(-1, 2 * height, 2 * width)


class PixelDecoder(nn.Module):
    """``deep`` (B, C, g, g), ``shallow`` (B, C', 2g, 2g) of each trace's own frame, T traces.

    ``token_grid`` (rows, columns) of the enhanced tokens lets pictures of any shape through:
    ``deep`` is then (B, C, h, w) with ``merge`` patches per token, ``shallow`` twice that size.
    """

    def __init__(
        self, config: DecoderConfig, width: int, grid: int, deep: int, shallow: int, merge: int
    ) -> None:
        super().__init__()
        self.fusion = CodebookFusion()
        first, second = config.channels
        self.deep_proj = nn.Conv2d(deep, first, 1)
        self.enhanced_up = nn.ConvTranspose2d(width, first, merge, stride=merge)
        self.shallow_proj = nn.Conv2d(shallow, second, 1)
        self.guide_proj = nn.ConvTranspose2d(first, second, 2, stride=2)
        self.levels = nn.ModuleList(
            MaskLevel(config, channels, width, side)
            for channels, side in ((first, grid), (second, 2 * grid))
        )
        self.level_weights = nn.Parameter(torch.zeros(SCALES))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def forward(
        self,
        deep: Tensor,
        shallow: Tensor,
        enhanced: Tensor,
        trace: Tensor,
        valid: Tensor,
        seg_embeddings: Tensor,
        token_grid: tuple[int, int] | None = None,
    ) -> Tensor:
        """Mask logits (T, 4g, 4g). ``deep`` and ``shallow`` have batch T, or 1 shared by all."""
        prompts = self.fusion(seg_embeddings)
        centres = _level_centres(token_grid, deep, shallow)
        side = round(enhanced.shape[1] ** 0.5)
        rows, columns = token_grid or (side, side)
        tokens = enhanced.transpose(1, 2).reshape(-1, enhanced.shape[2], rows, columns)
        coarse_pixels = self.deep_proj(deep) + self.enhanced_up(tokens)
        coarse = self.levels[0](coarse_pixels, prompts[:, 0], trace, valid, centres.deep)
        fine_pixels = self.shallow_proj(shallow) + self.guide_proj(coarse_pixels)
        fine_pixels = fine_pixels * (1.0 + coarse.sigmoid()[:, None])
        fine = self.levels[1](fine_pixels, prompts[:, 1], trace, valid, centres.shallow)
        wide = F.interpolate(coarse[:, None], scale_factor=2.0, mode="bilinear")[:, 0]
        share = self.level_weights.softmax(0)
        logits: Tensor = 2.0 * (share[0] * wide + share[1] * fine) + self.bias
        return logits


class LevelCentres(NamedTuple):
    """Cell centres of both levels, (h * w, 2); None where the level's own square serves."""

    deep: Tensor | None
    shallow: Tensor | None


def _level_centres(
    token_grid: tuple[int, int] | None, deep: Tensor, shallow: Tensor
) -> LevelCentres:
    if token_grid is None:
        return LevelCentres(None, None)
    return LevelCentres(
        grid_centres(deep.shape[-2], deep.shape[-1], deep.device),
        grid_centres(shallow.shape[-2], shallow.shape[-1], shallow.device),
    )
