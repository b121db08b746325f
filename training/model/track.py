"""Pyramidal Lucas-Kanade as a torch module: the GPU graph ``track``.

The same steps in the same order as ``cv2.calcOpticalFlowPyrLK`` (Bouguet's scheme: Scharr
gradients, one gradient matrix per level, stop when a step is small or swings back), in floating
point instead of fixed point. Every shape is static and every loop unrolled: points that are done
are masked, so that the module exports to primitive ONNX operators.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

NOT_FOUND_ERROR = 1.0e4
_SCALE = 1.0 / 1024.0
_MIN_EIGENVALUE = 1.0e-4
_SWING_PX = 0.01


class TrackedPoints(NamedTuple):
    """``points`` (M, 2) float32 in the new frame; ``error`` (M,) mean absolute difference of the
    windows in grey levels, NOT_FOUND_ERROR where the point could not be followed.
    """

    points: Tensor
    error: Tensor


class _Level(NamedTuple):
    """One pyramid level, padded by the window on every side and flattened."""

    before: Tensor
    gradient_x: Tensor
    gradient_y: Tensor
    after: Tensor
    height: int
    width: int


class PointTracker(nn.Module):
    """Follows points from one grey pyramid to the next.

    ``window_px``: odd side of the window; ``iterations``: steps per level, always all of them;
    ``epsilon_px``: a point stops at the first step that is not longer.
    """

    def __init__(self, window_px: int = 21, iterations: int = 10, epsilon_px: float = 0.01) -> None:
        super().__init__()
        if window_px < 3 or window_px % 2 == 0:
            raise ValueError(f"window_px is {window_px}; take an odd number from 3")
        self.window_px = window_px
        self.iterations = iterations
        self.epsilon_px = epsilon_px
        kernel = torch.tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]])
        self.register_buffer("scharr", torch.stack([kernel, kernel.T])[:, None], persistent=False)

    def forward(
        self, before: Sequence[Tensor], after: Sequence[Tensor], points: Tensor
    ) -> TrackedPoints:
        """``before`` and ``after``: levels (H_l, W_l) uint8 or float32 of 0..255, full size first,
        each half of the one before it; ``points`` (M, 2) float32, pixels (x, y) of level 0.
        """
        moved = points / 2.0 ** (len(before) - 1)
        error = torch.zeros_like(points[:, 0])
        for depth in range(len(before) - 1, -1, -1):
            level = self._prepare(before[depth], after[depth])
            moved, found, error = self._follow(level, points / 2.0**depth, moved)
            if depth:
                moved = moved * 2.0
            else:
                error = torch.where(found, error, torch.full_like(error, NOT_FOUND_ERROR))
        return TrackedPoints(moved, error)

    def _prepare(self, before: Tensor, after: Tensor) -> _Level:
        height, width = int(before.shape[0]), int(before.shape[1])
        pad = self.window_px
        old, new = before.float()[None, None], after.float()[None, None]
        scharr: Tensor = self.get_buffer("scharr")
        gradient = functional.conv2d(_reflected(old, 1), scharr)
        gradient = functional.pad(gradient, (pad, pad, pad, pad))
        return _Level(
            _reflected(old, pad).reshape(-1),
            gradient[0, 0].reshape(-1),
            gradient[0, 1].reshape(-1),
            _reflected(new, pad).reshape(-1),
            height,
            width,
        )

    def _follow(
        self, level: _Level, origin: Tensor, guess: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, whether they were found, and errors at one level."""
        half = (self.window_px - 1) / 2.0
        corner = origin - half
        index, weights, inside = self._window(level, corner)
        old = _blend(level.before, index, weights)
        slope_x = _blend(level.gradient_x, index, weights)
        slope_y = _blend(level.gradient_y, index, weights)
        a11 = (slope_x * slope_x).sum((1, 2)) * _SCALE / 1024.0
        a12 = (slope_x * slope_y).sum((1, 2)) * _SCALE / 1024.0
        a22 = (slope_y * slope_y).sum((1, 2)) * _SCALE / 1024.0
        spread = torch.sqrt((a11 - a22) ** 2 + 4.0 * a12 * a12)
        weaker = (a11 + a22 - spread) / (2.0 * self.window_px**2)
        determinant = a11 * a22 - a12 * a12
        usable = inside & (weaker >= _MIN_EIGENVALUE) & (determinant >= 1.2e-7)
        inverse = 1.0 / torch.where(usable, determinant, torch.ones_like(determinant))

        place, found, moving = guess - half, usable, usable
        previous = torch.zeros_like(place)
        for step in range(self.iterations):
            index, weights, inside = self._window(level, place)
            found = found & (inside | ~moving)
            moving = moving & inside
            difference = _blend(level.after, index, weights) - old
            b1 = (difference * slope_x).sum((1, 2)) * _SCALE / 32.0
            b2 = (difference * slope_y).sum((1, 2)) * _SCALE / 32.0
            delta = torch.stack([a12 * b2 - a22 * b1, a12 * b1 - a11 * b2], 1) * inverse[:, None]
            delta = torch.where(moving[:, None], delta, torch.zeros_like(delta))
            place = place + delta
            small = (delta * delta).sum(1) <= self.epsilon_px**2
            if step:
                swing = ((delta + previous).abs() < _SWING_PX).all(1) & moving & ~small
                place = torch.where(swing[:, None], place - 0.5 * delta, place)
                small = small | swing
            moving = moving & ~small
            previous = delta
        index, weights, inside = self._window(level, place)
        error = (_blend(level.after, index, weights) - old).abs().mean((1, 2))
        return place + half, found & inside, error

    def _window(self, level: _Level, corner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Flat indices (M, w+1, w+1), bilinear weights (M, 4) and whether the window touches."""
        pad, side = self.window_px, self.window_px + 1
        safe = torch.nan_to_num(corner, nan=-1.0e6, posinf=-1.0e6, neginf=-1.0e6)
        whole = torch.floor(safe)
        x, y = whole[:, 0], whole[:, 1]
        inside = (x >= -pad) & (x < level.width) & (y >= -pad) & (y < level.height)
        part = safe - whole
        px, py = part[:, 0], part[:, 1]
        weights = torch.stack([(1 - px) * (1 - py), px * (1 - py), (1 - px) * py, px * py], 1)
        stride = level.width + 2 * pad
        left = x.clamp(-pad, level.width - 1).long() + pad
        top = y.clamp(-pad, level.height - 1).long() + pad
        ramp = torch.arange(side, device=corner.device)
        index = (top[:, None] + ramp)[:, :, None] * stride + (left[:, None] + ramp)[:, None, :]
        return index, weights, inside


def _blend(flat: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Bilinear window (M, w, w) out of the (w+1)-square of pixels at ``index``."""
    pixels = flat[index]
    w = weights[:, :, None, None]
    upper = w[:, 0] * pixels[:, :-1, :-1] + w[:, 1] * pixels[:, :-1, 1:]
    return upper + w[:, 2] * pixels[:, 1:, :-1] + w[:, 3] * pixels[:, 1:, 1:]


def _reflected(image: Tensor, pad: int) -> Tensor:
    """Mirror (1, 1, H, W) at its edges without repeating them; small images more than once."""
    rows = _mirror(int(image.shape[2]), pad, image.device)
    columns = _mirror(int(image.shape[3]), pad, image.device)
    return image.index_select(2, rows).index_select(3, columns)


def _mirror(size: int, pad: int, device: torch.device) -> Tensor:
    if size == 1:
        return torch.zeros(1 + 2 * pad, dtype=torch.long, device=device)
    period = 2 * (size - 1)
    at = torch.arange(-pad, size + pad, device=device) % period
    return torch.where(at < size, at, period - at)
