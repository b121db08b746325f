"""What a trace says about each pixel before any attention: near it, like it, linked to it.

An option beyond the paper (ADR 0023): a mask learned from few photos needs to know where the
stroke runs at the resolution of the pixels, what looks like the places under it, and what the mask
was a moment ago.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model.tvp import MASKED, squared_distance

REACHES = (0.012, 0.035, 0.09, 0.25)
HEADS, HEAD_WIDTH = 4, 16
STEPS = (1, 2, 4)
_FAR = 4.0


class Stroke(NamedTuple):
    """Where T traces run: ``points`` (T, K, 2) in 0..1, ``pen_up`` and ``valid`` (T, K)."""

    points: Tensor
    pen_up: Tensor
    valid: Tensor


class StrokeCues(nn.Module):
    """Pixels (B, C, h, w), B = T or 1, of T strokes -> cue planes (T, ``planes``, h, w).

    Planes: closeness to the stroke at four reaches; likeness to the features under it, the best
    and the mean over its segments, per head; with ``spread`` also how much of a walk over alike and
    near pixels that starts at the pixel ends on the stroke.
    """

    def __init__(self, channels: int, spread: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, HEADS * HEAD_WIDTH, 1)
        self.sharpness = nn.Parameter(torch.full((HEADS,), 4.0))
        self.spread = spread
        self.link = nn.Parameter(torch.tensor(6.0)) if spread else None
        self.log_reach = nn.Parameter(torch.tensor(0.15).log()) if spread else None

    @property
    def planes(self) -> int:
        return len(REACHES) + 2 * HEADS + (len(STEPS) if self.spread else 0)

    def forward(self, pixels: Tensor, centres: Tensor, stroke: Stroke) -> Tensor:
        height, width = pixels.shape[-2:]
        unit = self._unit(pixels)
        distance = squared_distance(centres, stroke)
        away = distance + (_FAR * (1.0 - stroke.valid))[:, None]
        nearest = away.amin(-1)
        planes = [torch.exp(-nearest / (2.0 * reach**2)) for reach in REACHES]
        planes += self._likeness(unit, away, stroke.valid).unbind(1)
        if self.link is not None and self.log_reach is not None:
            planes += self._walks(unit, centres, planes[1])
        return torch.stack(planes, 1).reshape(-1, self.planes, height, width)

    def _unit(self, pixels: Tensor) -> Tensor:
        """Embeddings of length 1, (B, heads, P, head width)."""
        embedded = self.embed(pixels).float().flatten(2).unflatten(1, (HEADS, HEAD_WIDTH))
        return F.normalize(embedded, dim=2, eps=1e-3).transpose(2, 3)

    def _likeness(self, unit: Tensor, away: Tensor, valid: Tensor) -> Tensor:
        """Cosine to what lies under each segment: best and mean, (T, 2 * heads, P)."""
        under = (-away / (2.0 * REACHES[1] ** 2)).transpose(1, 2).softmax(-1)[:, None]
        below = under @ unit
        cosine = unit @ below.transpose(2, 3)
        shut = ((1.0 - valid) * MASKED)[:, None, None, :]
        best = (cosine + shut).amax(-1)
        share = (valid / valid.sum(-1, keepdim=True).clamp(min=1.0))[:, None, None, :]
        scale = self.sharpness[None, :, None]
        return torch.cat([scale * (best - 0.5), scale * (cosine * share).sum(-1)], dim=1)

    def _walks(self, unit: Tensor, centres: Tensor, start: Tensor) -> list[Tensor]:
        """Share of walks of 1, 2 and 4 steps that end on the stroke, highest = 1, (T, P) each."""
        assert self.link is not None and self.log_reach is not None
        flat = unit.transpose(1, 2).flatten(2)
        apart = (centres[:, None] - centres[None]).square().sum(-1)
        alike = (self.link / HEADS) * (flat @ flat.transpose(1, 2))
        step = (alike - 0.5 * apart * torch.exp(-2.0 * self.log_reach)).softmax(-1)
        share = start[..., None]
        found = []
        for count in range(1, max(STEPS) + 1):
            share = step @ share
            if count in STEPS:
                found.append((share / share.amax(1, keepdim=True).clamp(min=1e-6))[..., 0])
        return found
