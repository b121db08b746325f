"""Procedural backgrounds: a grey pattern per kind, coloured by a ramp between two colours."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import Image
from tracevlm_ros.synthetic.scene import Background

Grey = NDArray[np.float32]


def paint_background(background: Background, size_hw: tuple[int, int]) -> Image:
    """The background as uint8 (H, W, 3); the same pattern at any size."""
    rng = np.random.default_rng(background.seed)
    grey = _PATTERNS[background.kind](rng, size_hw)
    levels = np.clip(grey * 255.0, 0.0, 255.0).astype(np.uint8)
    ramp = np.linspace(background.dark_rgb, background.light_rgb, 256)
    coloured = cv2.applyColorMap(levels, ramp.astype(np.uint8).reshape(256, 1, 3))
    image = np.asarray(coloured, np.uint8)
    if background.kind == "clutter":
        _scatter_clutter(rng, image)
    return image


def octaves(rng: np.random.Generator, size_hw: tuple[int, int], cells: tuple[int, ...]) -> Grey:
    """Smooth noise about 0.5, one octave per entry of ``cells`` (grid cells across), halving."""
    height, width = size_hw
    total = np.full((height, width), 0.5, np.float32)
    weight = 0.22
    for count in cells:
        grid = rng.standard_normal((count, count), np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        weight *= 0.55
    return total


def _axes(size_hw: tuple[int, int]) -> tuple[Grey, Grey]:
    """Row (1, W) and column (H, 1) of pixel centres in 0..1."""
    height, width = size_hw
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
    return x[None, :], y[:, None]


def _gradient(rng: np.random.Generator, size_hw: tuple[int, int]) -> Grey:
    x, y = _axes(size_hw)
    angle = rng.uniform(0.0, 2 * np.pi)
    dx, dy = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.asarray(0.5 + (x - 0.5) * dx + (y - 0.5) * dy, np.float32)


def _noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Grey:
    return octaves(rng, size_hw, (5, 11, 24, 60))


def _wood(rng: np.random.Generator, size_hw: tuple[int, int]) -> Grey:
    x, y = _axes(size_hw)
    warp = octaves(rng, size_hw, (3, 6))
    across, along = (y, x) if rng.random() < 0.5 else (x, y)
    rings = np.sin(across * rng.uniform(25, 45) + along * 3.0 + warp * rng.uniform(8, 14))
    planks = np.floor(across * rng.integers(3, 6))
    return np.asarray(0.5 + 0.28 * rings + 0.12 * np.cos(planks * 2.4), np.float32)


def _brick(rng: np.random.Generator, size_hw: tuple[int, int]) -> Grey:
    x, y = _axes(size_hw)
    rows = int(rng.integers(6, 12))
    columns = max(2, rows // 2)
    row = np.floor(y * rows).astype(np.intp)
    shifted = x * columns + 0.5 * (row % 2)
    column = np.floor(shifted).astype(np.intp)
    tones = rng.uniform(0.35, 0.95, (rows, columns + 2)).astype(np.float32)
    grey = tones[row, column]
    mortar = (y * rows - row < 0.1) | (shifted - column < 0.05)
    grey[mortar] = 0.05
    return grey


def _clutter(rng: np.random.Generator, size_hw: tuple[int, int]) -> Grey:
    return octaves(rng, size_hw, (4, 9))


def _scatter_clutter(rng: np.random.Generator, image: Image) -> None:
    """Lines and irregular slivers in dull colours, to be told from objects by shape and colour."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(12, 30))):
        colour = tuple(float(level) for level in rng.uniform(30, 190) + rng.uniform(-30, 30, 3))
        x, y, dx, dy, bend = rng.uniform(-0.15, 1.15, 2).tolist() + rng.normal(0, 0.09, 3).tolist()
        corners = np.array([[x, y], [x + dx, y + dy], [x + dx + bend, y - dy], [x - bend, y + dx]])
        points = np.round(corners * (width * 16, height * 16)).astype(np.int32)
        if rng.random() < 0.6:
            cv2.fillPoly(image, [points], colour, cv2.LINE_AA, 4)
        else:
            thickness = max(1, round(min(height, width) * rng.uniform(0.004, 0.015)))
            cv2.polylines(image, [points], False, colour, thickness, cv2.LINE_AA, 4)


_PATTERNS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Grey]] = {
    "gradient": _gradient,
    "noise": _noise,
    "wood": _wood,
    "brick": _brick,
    "clutter": _clutter,
}
