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
from training.model.convolutions import ResidualConv
from training.model.trace_cues import Stroke, StrokeCues
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


class FeatureSizes(NamedTuple):
    """Channels of the deep and the shallow map, patches along one side of the square picture,
    patches along one side of a merged token, channels of the stride-4 map within the shallow."""

    deep: int
    shallow: int
    grid: int
    merge: int
    detail: int = 0


class LevelSizes(NamedTuple):
    """Working channels, pixels along one side, channels compared with the stroke, of details."""

    channels: int
    side: int
    seen: int
    detail: int


class Asked(NamedTuple):
    """What the decoder is told of T traces beside the picture: ``tokens`` (T, K, D) of TVP,
    ``stroke`` where they run, ``prior`` (T, h, w) the mask of a moment ago carried to this frame,
    0..1 at the shallow resolution, all 0 where there is none."""

    tokens: Tensor
    stroke: Stroke
    prior: Tensor


class MaskLevel(nn.Module):
    """One level: pixels (T, C, h, w), prompt (T, D) and the traces -> logits (T, 2h, 2w).

    ``seen`` (B, channels, h, w), B = T or 1, are the features that strokes are compared with.
    ``centres`` (h * w, 2) are those of the pixels where the picture is not the square ``side``.
    """

    centres: Tensor

    def __init__(self, config: DecoderConfig, sizes: LevelSizes, width: int, spread: bool) -> None:
        super().__init__()
        channels = sizes.channels
        self.prompt_proj = nn.Linear(width, channels)
        self.trace_proj = nn.Linear(width, channels)
        self.cues = StrokeCues(sizes.seen, spread) if config.cues else None
        self.cue_proj = (
            nn.Conv2d(self.cues.planes + 1, channels, 3, padding=1) if self.cues else None
        )
        self.before = nn.Sequential(*(ResidualConv(channels) for _ in range(config.mixing)))
        self.after = nn.Sequential(*(ResidualConv(channels) for _ in range(config.mixing)))
        self.layers = nn.ModuleList(
            TwoWayLayer(channels, config.heads) for _ in range(config.layers)
        )
        self.place = Fourier(6)
        self.code_proj = nn.Linear(24, channels)
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.detail_proj = nn.Conv2d(sizes.detail, channels // 2, 1) if sizes.detail else None
        self.smooth = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.hyper = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels // 2)
        )
        self.register_buffer("centres", grid_centres(sizes.side, sizes.side), persistent=False)

    def forward(
        self,
        pixels: Tensor,
        seen: Tensor,
        prompt: Tensor,
        asked: Asked,
        centres: Tensor | None = None,
        detail: Tensor | None = None,
    ) -> Tensor:
        """``detail`` (B, C_detail, 2h, 2w) are features at the resolution of the logits."""
        height, width = pixels.shape[-2:]
        centres = self.centres if centres is None else centres
        if self.cues is not None and self.cue_proj is not None:
            prior = F.adaptive_avg_pool2d(asked.prior[:, None], (height, width))
            planes = torch.cat([self.cues(seen, centres, asked.stroke), prior], dim=1)
            pixels = pixels + self.cue_proj(planes)
        pixels = self.before(pixels)
        code = self.code_proj(self.place(centres))
        valid = asked.stroke.valid
        hidden = torch.cat([torch.zeros_like(valid[:, :1]), (1.0 - valid) * MASKED], dim=1)
        bias = hidden[:, None, None, :]
        tokens = [self.prompt_proj(prompt)[:, None], self.trace_proj(asked.tokens)]
        told, flat = torch.cat(tokens, dim=1), pixels.flatten(2).transpose(1, 2)
        for layer in self.layers:
            told, flat = layer(told, flat, code, bias)
        grid = flat.reshape(-1, height, width, flat.shape[2]).permute(0, 3, 1, 2)
        grid = self.after(grid)
        fine = self.up(grid)
        if self.detail_proj is not None and detail is not None:
            fine = fine + self.detail_proj(_of_each(detail, fine))
        fine = F.relu(self.smooth(F.relu(fine)))
        weights = self.hyper(told[:, 0])
        channels = fine.shape[1]
        logits: Tensor = weights[:, None] @ fine.flatten(2) * channels**-0.5
        return logits.reshape(-1, 2 * height, 2 * width)


class PixelDecoder(nn.Module):
    """``deep`` (B, C, g, g), ``shallow`` (B, C', 2g, 2g) of each trace's own frame, T traces.

    The last ``4 * detail`` channels of ``shallow`` are the stride-4 map. With cues, segmentation
    embeddings of 0 give a mask of what the stroke alone tells, before the language model has said
    anything. ``token_grid`` (rows, columns) of the enhanced tokens lets
    pictures of any shape through: ``deep`` is then (B, C, h, w) with ``merge`` patches per token,
    ``shallow`` twice that size.
    """

    def __init__(self, config: DecoderConfig, width: int, sizes: FeatureSizes) -> None:
        super().__init__()
        self.detail = sizes.detail
        self.fusion = CodebookFusion()
        self.unspoken = nn.Parameter(0.02 * torch.randn(SCALES, width)) if config.cues else None
        first, second = config.channels
        deep, shallow = sizes.deep, sizes.shallow
        self.deep_proj = nn.Conv2d(deep, first, 1)
        self.enhanced_up = nn.ConvTranspose2d(width, first, sizes.merge, stride=sizes.merge)
        self.shallow_proj = nn.Conv2d(shallow, second, 1)
        self.guide_proj = nn.ConvTranspose2d(first, second, 2, stride=2)
        levels = (
            LevelSizes(first, sizes.grid, deep, 0),
            LevelSizes(second, 2 * sizes.grid, shallow, sizes.detail),
        )
        self.levels = nn.ModuleList(
            MaskLevel(config, level, width, spread=number == 0)
            for number, level in enumerate(levels)
        )
        self.level_weights = nn.Parameter(torch.zeros(SCALES))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def forward(
        self,
        deep: Tensor,
        shallow: Tensor,
        enhanced: Tensor,
        asked: Asked,
        seg_embeddings: Tensor,
        token_grid: tuple[int, int] | None = None,
    ) -> Tensor:
        """Mask logits (T, 4g, 4g). ``deep`` and ``shallow`` have batch T, or 1 shared by all."""
        prompts = self.fusion(seg_embeddings)
        if self.unspoken is not None:
            prompts = prompts + self.unspoken
        centres = _level_centres(token_grid, deep, shallow)
        side = round(enhanced.shape[1] ** 0.5)
        rows, columns = token_grid or (side, side)
        tokens = enhanced.transpose(1, 2).reshape(-1, enhanced.shape[2], rows, columns)
        coarse_pixels = self.deep_proj(_of_each(deep, tokens)) + self.enhanced_up(tokens)
        coarse = self.levels[0](coarse_pixels, deep, prompts[:, 0], asked, centres.deep)
        fine_pixels = self.shallow_proj(_of_each(shallow, tokens)) + self.guide_proj(coarse_pixels)
        fine_pixels = fine_pixels * (1.0 + coarse.sigmoid()[:, None])
        detail = F.pixel_shuffle(shallow[:, -4 * self.detail :], 2) if self.detail else None
        fine = self.levels[1](fine_pixels, shallow, prompts[:, 1], asked, centres.shallow, detail)
        wide = F.interpolate(coarse[:, None], scale_factor=2.0, mode="bilinear")[:, 0]
        share = self.level_weights.softmax(0)
        logits: Tensor = 2.0 * (share[0] * wide + share[1] * fine) + self.bias
        return logits


def _of_each(shared: Tensor, traces: Tensor) -> Tensor:
    """``shared`` (T or 1, C, h, w) for each of the T ``traces``.

    Said before it is projected: OpenVINO 2026.4 adds a projection of one picture into the result of
    a transposed convolution of T as if both had one batch size, and fails.
    """
    return shared.expand(traces.shape[0], -1, -1, -1)


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
