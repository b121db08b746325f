"""Trace-aware visual perception: visual tokens and trace features attend to each other.

METHOD.md, equations 3 and 4. With ``gamma`` = 0 the visual tokens leave as they came, bit for bit.
Options beyond the paper (ADR 0007): a Gaussian distance bias per head, 2-D position codes on the
visual side, and a "near the trace" embedding; the last also goes through ``gamma``.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from training.model.config import TVPConfig
from training.model.layers import RMSNorm, SwiGLU, join_heads, split_heads
from training.model.trace_embedding import Fourier, TraceBatch, TraceEmbedding

MASKED = -1e4
SIGMAS = (0.05, 0.1, 0.2, 0.8)


class Grounded(NamedTuple):
    """``enhanced`` (T, N, D) visual tokens; ``trace`` (T, K, D) refined, 0 where padded."""

    enhanced: Tensor
    trace: Tensor


def grid_centres(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Centres (rows * columns, 2) of the cells of a grid over the picture, (x, y) in 0..1."""
    y = (torch.arange(rows, device=device).float() + 0.5) / rows
    x = (torch.arange(columns, device=device).float() + 0.5) / columns
    down, along = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([along.flatten(), down.flatten()], dim=-1)


class HasStroke(Protocol):
    """``points`` (T, K, 2) in 0..1 and ``pen_up`` (T, K) before which the pen was lifted."""

    @property
    def points(self) -> Tensor: ...

    @property
    def pen_up(self) -> Tensor: ...


def squared_distance(centres: Tensor, trace: HasStroke) -> Tensor:
    """Squared distance (T, N, K) of ``centres`` (N, 2) to the segment that ends at each keypoint.

    The first keypoint, and one before which the pen was lifted, is a point.
    """
    end = trace.points
    start = torch.cat([end[:, :1], end[:, :-1]], dim=1)
    start = torch.where(trace.pen_up[..., None] > 0.5, end, start)
    along = (end - start)[:, None]
    offset = centres[None, :, None] - start[:, None]
    share = (offset * along).sum(-1) / (along.square().sum(-1) + 1e-6)
    gap = offset - share.clamp(0.0, 1.0)[..., None] * along
    return gap.square().sum(-1)


class CrossAttention(nn.Module):
    """Queries (T, Q, D) attend to keys (T, K, D) with an additive bias (T, heads or 1, Q, K)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        q = split_heads(self.q_proj(queries), self.heads)
        k = split_heads(self.k_proj(keys), self.heads)
        v = split_heads(self.v_proj(values), self.heads)
        scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5) + bias
        out: Tensor = self.o_proj(join_heads(scores.softmax(-1) @ v))
        return out


class TVPBlock(nn.Module):
    def __init__(self, config: TVPConfig, width: int) -> None:
        super().__init__()
        self.norm_visual = RMSNorm(width)
        self.norm_trace = RMSNorm(width)
        self.norm_enhanced = RMSNorm(width)
        self.visual_reads_trace = CrossAttention(width, config.heads)
        self.trace_reads_visual = CrossAttention(width, config.heads)
        self.ffn = SwiGLU(width, config.mlp_width, bias=True)
        self.gamma = nn.Parameter(torch.full((width,), config.gamma_init))
        sigmas = torch.tensor([SIGMAS[i % len(SIGMAS)] for i in range(config.heads)])
        self.log_sigma = nn.Parameter(sigmas.log()) if config.distance_bias else None
        self.near = nn.Parameter(0.5 * torch.randn(width)) if config.near_embedding else None
        self.log_reach = nn.Parameter(torch.tensor(0.06).log()) if config.near_embedding else None

    def forward(
        self, visual: Tensor, trace: Tensor, code: Tensor | float, distance: Tensor, valid: Tensor
    ) -> Grounded:
        """``distance`` (T, N, K) squared; ``valid`` (T, K); ``code`` (N, D) position codes or 0."""
        bias = ((1.0 - valid) * MASKED)[:, None, None, :]
        back: Tensor | float = 0.0
        if self.log_sigma is not None:
            sharpness = 0.5 * torch.exp(-2.0 * self.log_sigma)[None, :, None, None]
            fall = -distance[:, None] * sharpness
            bias = bias + fall
            back = fall.transpose(-1, -2)
        incoming = self.norm_trace(trace)
        seen = self.norm_visual(visual)
        update = self.visual_reads_trace(seen + code, incoming, incoming, bias)
        if self.near is not None and self.log_reach is not None:
            closeness = torch.exp(-0.5 * distance * torch.exp(-2.0 * self.log_reach))
            update = update + (closeness * valid[:, None]).amax(-1, keepdim=True) * self.near
        enhanced = visual + self.gamma * update
        keys = self.norm_enhanced(enhanced)
        read = self.trace_reads_visual(incoming, keys + code, keys, torch.as_tensor(back))
        refined = trace + read + self.ffn(incoming)
        return Grounded(enhanced, refined * valid[..., None])


class TVP(nn.Module):
    """Visual tokens (T, N, D) and a ``TraceBatch`` of T traces -> ``Grounded``.

    ``centres`` (N, 2) are those of the tokens where the picture is not the square ``grid``;
    ``frame`` (T,) is the frame index of each trace.
    """

    centres: Tensor

    def __init__(self, config: TVPConfig, width: int, grid: int) -> None:
        super().__init__()
        self.embedding = TraceEmbedding(width, config.max_keypoints, config.max_frames)
        self.blocks = nn.ModuleList(TVPBlock(config, width) for _ in range(config.blocks))
        self.register_buffer("centres", grid_centres(grid, grid), persistent=False)
        self.place = Fourier(6)
        self.code_proj = nn.Linear(24, width) if config.position_codes else None

    def forward(
        self,
        visual: Tensor,
        trace: TraceBatch,
        centres: Tensor | None = None,
        frame: Tensor | None = None,
    ) -> Grounded:
        centres = self.centres if centres is None else centres
        code = 0.0 if self.code_proj is None else self.code_proj(self.place(centres))
        distance = squared_distance(centres, trace)
        grounded = Grounded(visual, self.embedding(trace, frame))
        for block in self.blocks:
            grounded = block(*grounded, code, distance, trace.valid)
        return grounded
