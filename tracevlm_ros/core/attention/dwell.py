"""Temporal attention: where the gaze of the last seconds has been, in the newest frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_settings, setting
from tracevlm_ros.core.types import FloatArray, Image

GRID_PX = 8
MIN_DEPTH = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class DwellConfig:
    """How long looks are remembered, and how they are drawn."""

    window_s: float = setting(
        5.0, "How long a look is remembered, fading linearly.", 0.05, 600.0, live=True
    )
    sigma_share: float = setting(
        0.02, "Spread of one look, as a share of the image's long side.", 0.001, 0.5, live=True
    )
    full_dwell_s: float = setting(1.0, "So long on one place gives 255.", 0.01, 600.0, live=True)
    max_points: int = setting(
        2048, "Looks that are remembered at most; the oldest goes first.", 16, 1_000_000, live=True
    )

    def __post_init__(self) -> None:
        require_settings(self, "dwell")


class DwellMap:
    """Looks as points with a time and an age, moved with the camera, drawn on demand.

    Points, not pixels, are moved: nothing blurs however often the camera moves. ``drops`` counts
    ``dwell_point_invalid``, ``dwell_point_behind`` (moved out of sight for good),
    ``dwell_map_full`` and ``dwell_move_invalid``.
    """

    def __init__(self, config: DwellConfig, drops: Drops) -> None:
        self.config = config
        self._drops = drops
        self._points = np.empty((0, 4), np.float64)
        self._added: list[tuple[float, float, float, float]] = []
        self._now_s = 0.0

    def add(self, x: float, y: float, dt_s: float) -> None:
        """Gaze was at (x, y), pixels of the newest frame, for ``dt_s``; so much time passes."""
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(dt_s) and dt_s >= 0):
            self._drops["dwell_point_invalid"] += 1
            return
        self._now_s += dt_s
        self._added.append((x, y, dt_s, self._now_s))
        if len(self._added) > self.config.max_points:
            self._gather()

    def pass_time(self, dt_s: float) -> None:
        """``dt_s`` passed without gaze: what was seen fades."""
        self._now_s += max(dt_s, 0.0)

    def move(self, homography: FloatArray) -> None:
        """The camera moved: (3, 3), maps pixels of the last frame to those of the new one."""
        points = self._gather()
        matrix = np.asarray(homography, np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < MIN_DEPTH:
            self._drops["dwell_move_invalid"] += 1
            return
        matrix = matrix / matrix[2, 2]
        moved = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        ahead = moved[:, 2] > MIN_DEPTH
        self._count("dwell_point_behind", int((~ahead).sum()))
        self._points = points[ahead]
        self._points[:, :2] = moved[ahead, :2] / moved[ahead, 2:]

    def clear(self) -> None:
        """Forget everything: a cut in the video or a bag loop."""
        self._points = self._points[:0]
        self._added.clear()

    def render(self, size_hw: tuple[int, int]) -> Image:
        """uint8 (H, W): seconds of dwell around each pixel, 255 = ``full_dwell_s`` or more.

        Drawn on a grid of 8 px and enlarged linearly.
        """
        height, width = size_hw
        points = self._gather()
        rows, columns = _grid(height), _grid(width)
        fade = 1.0 - (self._now_s - points[:, 3]) / self.config.window_s
        weights = points[:, 2] * fade
        sigma = max(self.config.sigma_share * max(size_hw), GRID_PX / 2.0)
        across_y = _bells(rows, points[:, 1], sigma)
        across_x = _bells(columns, points[:, 0], sigma)
        dwell_s = (across_y * weights.astype(np.float32)) @ across_x.T
        scaled = np.minimum(dwell_s * np.float32(255.0 / self.config.full_dwell_s), 255.0)
        return _enlarge(scaled, size_hw)

    def _gather(self) -> FloatArray:
        """All live points (N, 4): x, y, seconds, when."""
        if self._added:
            self._points = np.concatenate([self._points, np.array(self._added)])
            self._added.clear()
        fresh = self._now_s - self._points[:, 3] < self.config.window_s
        self._points = self._points[fresh]
        excess = len(self._points) - self.config.max_points
        if excess > 0:
            self._count("dwell_map_full", excess)
            self._points = self._points[excess:]
        return self._points

    def _count(self, reason: str, count: int) -> None:
        if count:
            self._drops[reason] += count


def _grid(length: int) -> FloatArray:
    """Positions of the coarse cells along one side."""
    return np.arange(0, length, GRID_PX, dtype=np.float64)


def _bells(places: FloatArray, centres: FloatArray, sigma: float) -> NDArray[np.float32]:
    """(places, centres) Gaussians; their tails end at e^-20, before denormals make them slow."""
    away = ((places[:, None] - centres[None, :]) / sigma).astype(np.float32)
    bells = np.exp(np.maximum(np.float32(-0.5) * away * away, np.float32(-20.0)))
    return np.asarray(bells, np.float32)


def _enlarge(coarse: NDArray[np.float32], size_hw: tuple[int, int]) -> Image:
    """Linear interpolation of a grid of ``GRID_PX`` to every pixel, one axis after the other."""
    wide = _enlarge_columns(coarse, size_hw[1])
    return np.ascontiguousarray(_enlarge_columns(wide.T, size_hw[0]).T.astype(np.uint8))


def _enlarge_columns(cells: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """(N, cells) -> (N, length): every pixel lies between the cell to its left and the next."""
    following = np.concatenate([cells[:, 1:], cells[:, -1:]], axis=1)
    share = np.arange(GRID_PX, dtype=np.float32) / GRID_PX
    fine = cells[:, :, None] + (following - cells)[:, :, None] * share
    return np.asarray(fine, np.float32).reshape(len(cells), -1)[:, :length]
