"""The vision encoder of Qwen2.5-VL: patches, windowed blocks, rotary positions, merged tokens.

Parameter names follow Hugging Face (``patch_embed.proj``, ``blocks.N.attn.qkv``, ``merger.mlp``).
For stills the temporal axis of the patch convolution is folded away. Two things are added for the
pixel decoder and for learning from little data: a convolutional stem (option) and the shallow
feature map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.config import VisionConfig
from training.model.convolutions import ConvNorm, ResidualConv
from training.model.layers import RMSNorm, SwiGLU, join_heads, split_heads, turn
from training.model.merger import PatchMerger

IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
QUARTER_CHANNELS = 32


class VisionFeatures(NamedTuple):
    """``tokens`` (B, N, D) merged, raster order; ``deep`` (B, C, g, g) per patch;
    ``shallow`` (B, C_shallow, 2g, 2g), twice the resolution; its last 4 * detail channels are those
    of the stride-4 map, four neighbouring pixels side by side."""

    tokens: Tensor
    deep: Tensor
    shallow: Tensor


class Patches(NamedTuple):
    """``patches`` (B, width, g, g); ``halfway`` (B, width / 2, 2g, 2g); ``quarter``
    (B, QUARTER_CHANNELS, 4g, 4g), None from the linear stem."""

    patches: Tensor
    halfway: Tensor
    quarter: Tensor | None


class ConvStem(nn.Module):
    """A small residual network: four halvings to one vector per 16 px patch, and the maps of
    stride 8 and 4 along the way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.begin = ConvNorm(3, QUARTER_CHANNELS, stride=2)
        self.quarter = nn.Sequential(
            ConvNorm(QUARTER_CHANNELS, QUARTER_CHANNELS, stride=2),
            nn.ReLU(),
            ResidualConv(QUARTER_CHANNELS),
        )
        self.halfway = nn.Sequential(
            ConvNorm(QUARTER_CHANNELS, width // 2, stride=2),
            nn.ReLU(),
            ResidualConv(width // 2),
            ResidualConv(width // 2),
        )
        self.patches = nn.Sequential(
            ConvNorm(width // 2, width, stride=2), nn.ReLU(), ResidualConv(width)
        )

    def forward(self, pixels: Tensor) -> Patches:
        """(B, 3, H, W) -> maps of H / 16, H / 8 and H / 4."""
        quarter = self.quarter(F.relu(self.begin(pixels)))
        halfway = self.halfway(quarter)
        return Patches(self.patches(halfway), halfway, quarter)


class LinearStem(nn.Module):
    """Qwen's patch embedding; its half-way map is learned from the patch itself."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=False)
        self.halfway = nn.ConvTranspose2d(width, width // 2, 2, stride=2)

    def forward(self, pixels: Tensor) -> Patches:
        patches = self.proj(pixels)
        return Patches(patches, self.halfway(patches), None)


class VisionAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, L, width) with rotary tables (L, head_dim), or (B, 1, L, head_dim) of each row."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        out: Tensor = self.proj(join_heads(F.scaled_dot_product_attention(q, k, v)))
        return out


class VisionBlock(nn.Module):
    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1 = RMSNorm(width)
        self.norm2 = RMSNorm(width)
        self.attn = VisionAttention(width, heads)
        self.mlp = SwiGLU(width, mlp_width, bias=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionEncoder(nn.Module):
    """Image (B, 3, H, W) normalised -> ``VisionFeatures``."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: VisionConfig, token_width: int) -> None:
        super().__init__()
        self.config = config
        self.patch_embed: nn.Module = (
            ConvStem(config.width)
            if config.stem == "conv"
            else LinearStem(config.width, config.patch_size)
        )
        self.blocks = nn.ModuleList(
            VisionBlock(config.width, config.heads, config.mlp_width) for _ in range(config.depth)
        )
        self.merger = PatchMerger(config.width, config.merge, token_width)
        self.deep_norm = RMSNorm(config.width)
        self.shallow_up = nn.ConvTranspose2d(config.width, config.shallow_channels, 2, stride=2)
        self.shallow_side = nn.Conv2d(config.width // 2, config.shallow_channels, 1)
        self.detail = (
            nn.Conv2d(QUARTER_CHANNELS, config.detail_channels, 1)
            if config.detail_channels
            else None
        )
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, pixels: Tensor) -> VisionFeatures:
        patches, halfway, quarter = self.patch_embed(pixels)
        x = self._to_windows(patches)
        early = x
        for index, block in enumerate(self.blocks):
            x = self._run(block, x, index in self.config.full_attention_blocks)
            if index == self.config.shallow_block:
                early = x
        grid = self._to_grid(x)
        shallow = F.silu(self.shallow_up(self._to_grid(early)) + self.shallow_side(halfway))
        if self.detail is not None and quarter is not None:
            shallow = torch.cat([shallow, F.pixel_unshuffle(self.detail(quarter), 2)], dim=1)
        deep = self.deep_norm(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return VisionFeatures(self.merger(grid), deep, shallow)

    def _run(self, block: nn.Module, x: Tensor, full: bool) -> Tensor:
        """One block over all patches, or over each window by itself."""
        if full:
            out: Tensor = block(x, self.cos, self.sin)
            return out
        area = self.config.window_patches**2
        batch, length, width = x.shape
        windows = x.reshape(batch * (length // area), area, width)
        out = block(windows, self.cos[:area], self.sin[:area])
        return out.reshape(batch, length, width)

    def _to_windows(self, grid: Tensor) -> Tensor:
        """(B, C, g, g) -> (B, g*g, C) in window order: each window's patches are adjacent.

        Channels move first and whole patches after them: one permutation of all axes is five
        times slower in ONNX Runtime.
        """
        w = self.config.window_patches
        n = self.config.grid // w
        x = grid.flatten(2).transpose(1, 2).reshape(-1, n, w, n, w, self.config.width)
        return x.transpose(2, 3).reshape(-1, n * n * w * w, self.config.width)

    def _to_grid(self, x: Tensor) -> Tensor:
        """Undo ``_to_windows``."""
        w = self.config.window_patches
        n = self.config.grid // w
        x = x.reshape(-1, n, n, w, w, self.config.width).transpose(2, 3)
        x = x.reshape(-1, n * n * w * w, self.config.width).transpose(1, 2)
        return x.reshape(-1, self.config.width, n * w, n * w)


def normalise(image: Tensor) -> Tensor:
    """uint8 or float (B, H, W, 3) in 0..255 -> (B, 3, H, W) with Qwen's mean and deviation."""
    planes = image.permute(0, 3, 1, 2).float()
    mean = _per_channel(IMAGE_MEAN, image)[:, None, None] * 255.0
    scale = 1.0 / (_per_channel(IMAGE_STD, image)[:, None, None] * 255.0)
    return (planes - mean) * scale


def _per_channel(values: tuple[float, ...], image: Tensor) -> Tensor:
    if image.is_cuda:  # Filled there: a CUDA graph that is recorded must not copy from the host.
        return torch.stack([torch.full((), value, device=image.device) for value in values])
    return torch.tensor(values, device=image.device)


def rotary_tables(config: VisionConfig) -> tuple[Tensor, Tensor]:
    """cos, sin (g*g, head_dim) in window order: half of the pairs turn by row, half by column.

    Within a window rotary attention only sees differences, so the first window's rows serve all.
    """
    head_dim = config.width // config.heads
    frequencies = 10000.0 ** -(torch.arange(0, head_dim // 2, 2).float() / (head_dim // 2))
    w, n = config.window_patches, config.grid // config.window_patches
    side = torch.arange(config.grid).reshape(n, w)
    row = side[:, None, :, None].expand(n, n, w, w).reshape(-1, 1)
    column = side[None, :, None, :].expand(n, n, w, w).reshape(-1, 1)
    angles = torch.cat([row * frequencies, column * frequencies], dim=-1)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()
