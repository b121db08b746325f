"""Video with exactly known motion: one picture seen by a moving camera, and something in front.

Tests and benchmarks of tracking use it. Everything follows from the arguments; no clock, no
hidden random state.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import BoolArray, FloatArray, Image

_Floats32 = NDArray[np.float32]


def textured_picture(size_hw: tuple[int, int], seed: int) -> Image:
    """A picture (H, W, 3) of coloured noise at several scales over smooth shading."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    total = np.zeros((height, width, 3))
    for cell_px, weight in ((4, 0.5), (9, 0.8), (24, 1.0), (80, 1.2)):
        cells = rng.normal(size=(height // cell_px + 2, width // cell_px + 2, 3))
        total += weight * cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    picture: Image = np.clip(128 + 38 * total, 0, 255).astype(np.uint8)
    return picture


@dataclass(frozen=True, kw_only=True)
class WarpedVideo:
    """A still picture filmed by a camera that pans, turns, zooms and tilts.

    ``picture`` (h, w, 3) uint8 is stretched over the view with a margin of 30% on each side.
    ``size_hw`` is the frames' size; ``pace`` scales the camera's motion (1: about 3 px a frame at
    640 wide), ``noise`` is the standard deviation of the sensor noise in grey levels. With
    ``cover`` (h, w, 3) a disc of that picture, ``cover_share`` of the frame height wide, crosses
    the view once in ``frames`` frames, turning as it goes.
    """

    picture: Image
    size_hw: tuple[int, int] = (480, 640)
    frames: int = 100
    pace: float = 1.0
    noise: float = 1.5
    seed: int = 0
    cover: Image | None = None
    cover_share: float = 0.45

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ConfigError(f"frames is {self.frames}; a video takes at least 2")

    def camera(self, index: int) -> FloatArray:
        """Homography (3, 3) from pixels of frame 0 to pixels of frame ``index``."""
        return self._from_view(index) @ np.linalg.inv(self._from_view(0))

    def truth(self, points_px: FloatArray, index: int) -> FloatArray:
        """Where ``points_px`` (N, 2) of frame 0 are in frame ``index``."""
        homography = self.camera(index)
        mapped = points_px @ homography[:2, :2].T + homography[:2, 2]
        where: FloatArray = mapped / (points_px @ homography[2, :2] + homography[2, 2])[:, None]
        return where

    def covered(self, points_px: FloatArray, index: int) -> BoolArray:
        """Which ``points_px`` (N, 2) of frame ``index`` lie behind the disc."""
        if self.cover is None:
            return np.zeros(len(points_px), dtype=bool)
        centre, radius = self._disc(index)
        return np.asarray(np.linalg.norm(points_px - centre, axis=1) < radius, dtype=bool)

    def frame(self, index: int) -> Image:
        """Frame ``index`` (H, W, 3) uint8."""
        height, width = self.size_hw
        place = self._from_view(index) @ self._stretch()
        image = cv2.warpPerspective(
            self.picture,
            place,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.float32)
        if self.cover is not None:
            image = self._with_cover(np.asarray(image), index)
        if self.noise > 0:
            rng = np.random.default_rng((self.seed, index))
            image += rng.normal(0.0, self.noise, image.shape[:2])[..., None].astype(np.float32)
        picture: Image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return picture

    def _stretch(self) -> FloatArray:
        height, width = self.size_hw
        rows, columns = self.picture.shape[:2]
        sx, sy = 1.6 * width / columns, 1.6 * height / rows
        scale = max(sx, sy)
        return np.array([[scale, 0, -0.3 * width], [0, scale, -0.3 * height], [0, 0, 1.0]])

    def _from_view(self, index: int) -> FloatArray:
        height, width = self.size_hw
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 6)
        t = self.pace * index / 100.0
        pan = 0.09 * width * np.sin(2 * np.pi * 1.1 * t * np.array([1.0, 0.8]) + phase[:2])
        angle = 0.10 * np.sin(2 * np.pi * 0.9 * t + phase[2])
        zoom = np.exp(0.10 * np.sin(2 * np.pi * 0.7 * t + phase[3]))
        tilt = 0.04 / width * np.sin(2 * np.pi * 0.8 * t + phase[4:])
        centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
        cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
        move = np.array([[cosine, -sine, pan[0]], [sine, cosine, pan[1]], [tilt[0], tilt[1], 1.0]])
        view: FloatArray = np.linalg.inv(centre) @ move @ centre
        return view

    def _disc(self, index: int) -> tuple[FloatArray, float]:
        height, width = self.size_hw
        radius = 0.5 * self.cover_share * height
        way = index / (self.frames - 1)
        x = -radius + way * (width + 2 * radius)
        y = height * (0.5 + 0.15 * np.sin(2 * np.pi * way))
        return np.array([x, y]), radius

    def _with_cover(self, image: _Floats32, index: int) -> _Floats32:
        assert self.cover is not None
        height, width = self.size_hw
        centre, radius = self._disc(index)
        rows, columns = self.cover.shape[:2]
        turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), 0.6 * index, 1.0)
        turn[:, 2] += centre - np.array([columns / 2, rows / 2])
        front = cv2.warpAffine(self.cover, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        row, column = np.mgrid[:height, :width]
        behind = radius - np.hypot(column - centre[0], row - centre[1])
        alpha = np.clip(behind + 0.5, 0, 1).astype(np.float32)[..., None]
        blended: _Floats32 = image * (1 - alpha) + front.astype(np.float32) * alpha
        return blended
