"""The vision encoder of Qwen2.5-VL as released: any picture size, several pictures, video.

Parameter names and results are those of Hugging Face's ``model.visual``. Blocks and merger are the
nano network's own classes; what differs is how patches are cut and which of them attend.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenVisionConfig
from training.model.merger import PatchMerger
from training.model.qwen.layout import (
    Grid,
    Layout,
    all_places,
    check_grid,
    frame_layout,
    window_layout,
)
from training.model.vision import VisionBlock

ROPE_THETA = 10000.0


class QwenFeatures(NamedTuple):
    """All pictures and clips of a call, one after the other: ``tokens`` (N, D) merged, in raster
    order; ``deep``, ``early`` and ``embedded`` (P, C) per patch in block order, after the last
    block, after ``shallow_block`` and before the first."""

    tokens: Tensor
    deep: Tensor
    early: Tensor
    embedded: Tensor


class PatchEmbed(nn.Module):
    """(P, 3 * time * height * width) -> (P, C). The weight is that of a strided Conv3d; as its
    windows do not overlap, a matrix product does the same."""

    def __init__(self, config: QwenVisionConfig) -> None:
        super().__init__()
        kernel = (config.temporal_patch, config.patch_size, config.patch_size)
        self.proj = nn.Conv3d(3, config.width, kernel, stride=kernel, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches.to(self.proj.weight.dtype), self.proj.weight.flatten(1))


class QwenVision(nn.Module):
    """Patches (P, values) in block order and their grids -> ``QwenFeatures``."""

    def __init__(self, config: QwenVisionConfig, token_width: int) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(
            VisionBlock(config.width, config.heads, config.mlp_width) for _ in range(config.depth)
        )
        self.merger = PatchMerger(config.width, config.merge, token_width)

    def forward(self, patches: Tensor, grids: tuple[Grid, ...]) -> QwenFeatures:
        self._check(patches, grids)
        config = self.config
        windows, frames = window_layout(grids, config), frame_layout(grids)
        turns = self._rotary(grids, patches.device)
        embedded = x = self.patch_embed(patches)
        early = embedded
        here: Layout | None = None
        for index, block in enumerate(self.blocks):
            layout = frames if index in config.full_attention_blocks else windows
            if layout is not here:
                x = _taken(x, _moves(here, layout))
                tables = [_taken(turn, layout.order) for turn in turns]
                here = layout
            x = _attend_in_chunks(block, x, tables[0], tables[1], layout)
            if index == config.shallow_block:
                early = _taken(x, layout.inverse)
        assert here is not None
        deep = _taken(x, here.inverse)
        return QwenFeatures(self.merger.merge_blocks(deep), deep, early, embedded)

    def _check(self, patches: Tensor, grids: tuple[Grid, ...]) -> None:
        for grid in grids:
            check_grid(grid, self.config.merge)
        wanted = (sum(grid.patches() for grid in grids), self.config.patch_values)
        if not grids or tuple(patches.shape) != wanted:
            raise InputError(
                f"patches are {tuple(patches.shape)}, the grids {[tuple(g) for g in grids]} take "
                f"{wanted}; cut them with cut_patches"
            )

    def _rotary(self, grids: tuple[Grid, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """cos, sin (P, head_dim) in fp32: half of the pairs turn by row, half by column."""
        half = self.config.width // self.config.heads // 2
        steps = torch.arange(0, half, 2, device=device).float() / half
        places = all_places(grids, self.config.merge).to(device)
        angles = (places[..., None].float() * ROPE_THETA**-steps).flatten(1)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """Rows of ``x`` in the order of ``index``: a plain Gather of an exported graph."""
    return x.index_select(0, index.to(x.device))


def _moves(here: Layout | None, there: Layout) -> Tensor:
    """Index that takes patches from one layout (None: block order) to another."""
    return there.order if here is None else here.inverse.index_select(0, there.order)


def _attend_in_chunks(
    block: nn.Module, x: Tensor, cos: Tensor, sin: Tensor, layout: Layout
) -> Tensor:
    """``x`` (P, C) in ``layout``; one batch per chunk length."""
    sizes = [group.number * group.length for group in layout.groups]
    parts = []
    for group, part, turn_cos, turn_sin in zip(
        layout.groups, *(torch.split(t, sizes) for t in (x, cos, sin)), strict=True
    ):
        chunks = part.reshape(group.number, group.length, -1)
        tables = (t.reshape(group.number, 1, group.length, -1) for t in (turn_cos, turn_sin))
        parts.append(block(chunks, *tables).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)
