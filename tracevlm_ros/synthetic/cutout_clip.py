"""A thing cut out of one photo, moving and bending before another that a camera sweeps over.

Between plain synthetic scenes and real clips: real texture, known motion, known masks. Everything
follows from the arguments.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray, Image
from tracevlm_ros.synthetic.warped_video import WarpedVideo

_AREA_SHARE = 0.10
"""Of the view, at the middle of its change of size."""
_NOISE_LEVELS = 2.0


class CutoutFrame(NamedTuple):
    """``image_rgb`` uint8 (H, W, 3) and ``mask`` (H, W) of the thing."""

    image_rgb: Image
    mask: BoolArray


class _Grid(NamedTuple):
    """Where each pixel of the view lies in the photo of the thing, float32 (H, W)."""

    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    y: np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class CutoutClip:
    """``photo`` (h, w, 3) with the thing at ``outline`` bool (h, w); ``ground`` (h', w', 3).

    In ``frames`` frames the thing wanders, turns, grows and shrinks by a fifth, is squeezed, and
    waves run through it; the light on it changes by a tenth.
    """

    photo: Image
    outline: BoolArray
    ground: Image
    size_hw: tuple[int, int] = (360, 640)
    frames: int = 60
    seed: int = 0

    def frame(self, index: int) -> CutoutFrame:
        """Frame ``index`` of 0..frames-1."""
        camera = WarpedVideo(
            picture=self.ground, size_hw=self.size_hw, frames=self.frames, pace=1.2, noise=0.0,
            seed=self.seed,
        )  # fmt: skip
        grid = self._grid(index)
        outline = self.outline.astype(np.float32)
        alpha = cv2.remap(outline, grid.x, grid.y, cv2.INTER_LINEAR)
        alpha = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0))
        thing = cv2.remap(
            self.photo, grid.x, grid.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        light = 1.0 + 0.1 * self._wave(index)[7]
        cover = alpha[..., None]
        mixed = camera.frame(index) * (1 - cover) + thing * cover * light
        noise = np.random.default_rng((self.seed, index)).normal(0, _NOISE_LEVELS, self.size_hw)
        image: Image = np.clip(mixed + noise[..., None], 0, 255).astype(np.uint8)
        return CutoutFrame(image, np.asarray(alpha > 0.5))

    def _wave(self, index: int) -> FloatArray:
        """Eight values of -1..1, each on its own smooth path through the clip."""
        rng = np.random.default_rng((self.seed, 7))
        phase, pace = rng.uniform(0, 2 * np.pi, 8), rng.uniform(0.6, 1.9, 8)
        turn = 2 * np.pi * index / self.frames
        return np.asarray(np.sin(pace * turn + phase), dtype=np.float64)

    def _grid(self, index: int) -> _Grid:
        height, width = self.size_hw
        wave = self._wave(index)
        rows, columns = np.nonzero(self.outline)
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        middle = (columns.mean(), rows.mean())
        scale = np.sqrt(_AREA_SHARE * height * width / len(rows)) * np.exp(0.18 * wave[0])
        angle, squeeze = 0.25 * wave[1], 1.0 + 0.22 * wave[4]
        row, column = np.indices(self.size_hw, dtype=np.float64)
        x = column - width * (0.5 + 0.2 * wave[2])
        y = row - height * (0.5 + 0.12 * wave[3])
        u = (np.cos(angle) * x + np.sin(angle) * y) / (scale * squeeze)
        v = (np.cos(angle) * y - np.sin(angle) * x) * squeeze / scale
        u = u + 0.07 * wide * np.sin(5.0 * v / tall + np.pi * wave[5])
        v = v + 0.05 * tall * np.sin(4.4 * u / wide + np.pi * wave[6])
        return _Grid((u + middle[0]).astype(np.float32), (v + middle[1]).astype(np.float32))
