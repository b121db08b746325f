"""Pictures and clips as the patches of Qwen2.5-VL: sizes, normalisation, cutting."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenVisionConfig
from training.model.qwen.layout import Grid
from training.model.vision import normalise

MIN_PIXELS = 56 * 56
MAX_PIXELS = 28 * 28 * 1280
MAX_ASPECT = 200


class Patches(NamedTuple):
    """``values`` (P, 3 * time * height * width) in block order, of one picture or clip."""

    values: Tensor
    grid: Grid


def fitted_size(
    height: int,
    width: int,
    factor: int,
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
) -> tuple[int, int]:
    """(H, W) nearest to the given one, in multiples of ``factor`` and between the pixel counts.

    Shrinks and grows keep the aspect ratio; the same rule as Qwen's image processor. Raises
    InputError for an empty picture and for one longer than 200 times its width.
    """
    if min(height, width) < 1 or max(height, width) > MAX_ASPECT * min(height, width):
        raise InputError(
            f"picture is {width} x {height}; sides must be at least 1 and at most {MAX_ASPECT} "
            "times each other; crop it"
        )
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
    return rows * factor, columns * factor


def cut_patches(frames: Tensor, config: QwenVisionConfig) -> Patches:
    """Normalised ``frames`` (F, 3, H, W), H and W multiples of the merged patch -> ``Patches``.

    The last frame repeats until ``temporal_patch`` divides the count, so a still fills one step.
    """
    count, _, height, width = frames.shape
    factor = config.patch_size * config.merge
    if not count or height % factor or width % factor or not height * width:
        raise InputError(
            f"{count} frames of {width} x {height} px; give at least one, with sides that are "
            f"multiples of {factor} (fitted_size)"
        )
    missing = -count % config.temporal_patch
    frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
    time, side, merge = config.temporal_patch, config.patch_size, config.merge
    grid = Grid(len(frames) // time, height // side, width // side)
    blocks = (grid.rows // merge, merge, side, grid.columns // merge, merge, side)
    x = frames.reshape(grid.steps, time, 3, *blocks)
    x = x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return Patches(x.reshape(grid.patches(), config.patch_values), grid)


def cut_still(frame: Tensor, config: QwenVisionConfig) -> Patches:
    """``cut_patches`` of one normalised frame (1, 3, H, W), sides multiples of the merged patch.

    Seven axes where clips need nine: TensorRT reshapes to eight at most.
    """
    side, merge, time = config.patch_size, config.merge, config.temporal_patch
    grid = Grid(1, frame.shape[2] // side, frame.shape[3] // side)
    rows, columns = grid.rows // merge, grid.columns // merge
    x = frame.reshape(3, rows, merge, side, columns, merge, side).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.reshape(grid.patches(), 3, 1, side * side).expand(-1, -1, time, -1)
    return Patches(x.reshape(grid.patches(), config.patch_values), grid)


def prepare(
    frames: Tensor,
    config: QwenVisionConfig,
    min_pixels: int = MIN_PIXELS,
    max_pixels: int = MAX_PIXELS,
) -> Patches:
    """``frames`` (F, H, W, 3) uint8 RGB -> resized (bicubic, antialiased), normalised, cut."""
    height, width = frames.shape[1:3]
    size = fitted_size(height, width, config.patch_size * config.merge, min_pixels, max_pixels)
    if size != (height, width):
        planes = frames.permute(0, 3, 1, 2).float()
        planes = F.interpolate(planes, size, mode="bicubic", antialias=True, align_corners=False)
        frames = planes.round().clamp(0.0, 255.0).permute(0, 2, 3, 1)
    return cut_patches(normalise(frames), config)
