"""``f_Traj``: what a trace looks like to the network (METHOD.md, model)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class TraceBatch(NamedTuple):
    """T traces of K keypoint slots: ``points`` (T, K, 2) in 0..1, dequantised; ``dt_s`` (T, K)
    seconds since the previous point; ``pen_up`` and ``valid`` (T, K) 0 or 1 as float."""

    points: Tensor
    dt_s: Tensor
    pen_up: Tensor
    valid: Tensor


class Fourier(nn.Module):
    """(..., n) -> (..., n * 2 * bands): sines and cosines of octaves from ``lowest`` half turns."""

    frequencies: Tensor

    def __init__(self, bands: int, lowest: float = 0.5) -> None:
        super().__init__()
        octaves = lowest * 2.0 * math.pi * 2.0 ** torch.arange(bands).float()
        self.register_buffer("frequencies", octaves, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        angles = (x[..., None] * self.frequencies).flatten(-2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TraceEmbedding(nn.Module):
    """Fourier(x, y) + Fourier(delta t) + order + pen-up + frame index through an MLP.

    ``TraceBatch`` -> (T, K, D); slots that are not valid hold zeros.
    """

    def __init__(self, width: int, max_keypoints: int, max_frames: int) -> None:
        super().__init__()
        self.place = Fourier(6)
        self.duration = Fourier(4, lowest=0.125)
        self.place_proj = nn.Linear(24, width)
        self.duration_proj = nn.Linear(8, width)
        self.order = nn.Parameter(0.02 * torch.randn(max_keypoints, width))
        self.pen_up = nn.Parameter(0.02 * torch.randn(width))
        self.frame = nn.Parameter(0.02 * torch.randn(max_frames, width))
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, trace: TraceBatch, frame: Tensor | None = None) -> Tensor:
        """``frame`` (T,) is the frame index of each trace; without it all are of frame 0."""
        x = self.place_proj(self.place(trace.points))
        x = x + self.duration_proj(self.duration(trace.dt_s.clamp(0.0, 4.0)[..., None]))
        x = x + self.order[: trace.points.shape[1]] + trace.pen_up[..., None] * self.pen_up
        x = x + (self.frame[0] if frame is None else self.frame[frame][:, None])
        out: Tensor = self.mlp(x)
        return out * trace.valid[..., None]
