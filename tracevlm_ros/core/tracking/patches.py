"""What each keypoint looked like when it was first seen, and where that is in a new frame.

Following from frame to frame adds up small errors; comparing with the first sight does not. A
patch is aligned by inverse-compositional Gauss-Newton (Baker and Matthews 2004) for translation,
with brightness and contrast normalised away and the patch deformed by the motion known so far.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.tracking.bounds import within
from tracevlm_ros.core.types import FloatArray, Image, IntArray

_ROUNDS = 3
_GROW = 128

Floats32 = NDArray[np.float32]


class Alignment(NamedTuple):
    """``xy`` (M, 2) aligned positions and ``score`` (M,) correlation with the patch, -1..1."""

    xy: FloatArray
    score: FloatArray


class PatchStore:
    """Patches in numbered slots. ``deformation`` (C, 2, 2) maps patch offsets to this frame."""

    def __init__(self, side_px: int, min_contrast: float) -> None:
        radius = side_px // 2
        row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        self._offsets = np.stack([column.ravel(), row.ravel()], axis=1).astype(np.float32)
        self._side = side_px
        self._min_contrast = min_contrast
        area = side_px * side_px
        self._pixels: Floats32 = np.empty((0, area), dtype=np.float32)
        self._steepest: Floats32 = np.empty((0, 2, area), dtype=np.float32)
        self.deformation: FloatArray = np.empty((0, 2, 2))
        self._free: list[int] = []

    def release(self, slots: IntArray) -> None:
        """Give slots back; -1 entries are skipped."""
        self._free.extend(int(slot) for slot in slots if slot >= 0)

    def capture(self, grey: Image, points: FloatArray) -> IntArray:
        """Keep the looks of ``points`` (M, 2) in ``grey``; slot numbers (M,).

        -1 where nothing can be followed: outside the image, not finite, or with less structure
        than ``min_contrast`` in its weaker direction.
        """
        slots = np.full(len(points), -1, dtype=np.int64)
        chosen = np.flatnonzero(within(points, grey.shape))
        if len(chosen) == 0:
            return slots
        pixels, gradient = self._look(grey, points[chosen])
        normal = gradient @ gradient.transpose(0, 2, 1) / pixels.shape[1]
        weaker = np.sqrt(np.maximum(np.linalg.eigvalsh(normal)[:, 0], 0.0))
        textured = weaker >= self._min_contrast
        chosen, pixels, gradient = chosen[textured], pixels[textured], gradient[textured]
        if len(chosen) == 0:
            return slots
        slots[chosen] = self._reserve(len(chosen))
        unit, norm = _unit(pixels)
        slope = gradient / norm[:, None, None]
        slope -= slope.mean(axis=2, keepdims=True)
        slope -= (slope @ unit[:, :, None]) * unit[:, None, :]
        hessian = slope @ slope.transpose(0, 2, 1) + 1e-9 * np.eye(2, dtype=np.float32)
        self._pixels[slots[chosen]] = unit
        self._steepest[slots[chosen]] = np.linalg.solve(hessian, slope)
        self.deformation[slots[chosen]] = np.eye(2)
        return slots

    def align(self, grey: Image, slots: IntArray, points: FloatArray, reach_px: float) -> Alignment:
        """Move ``points`` (M, 2) onto the patches of ``slots``, by at most ``reach_px``.

        Points that would move farther come back unmoved with score -1.
        """
        if len(slots) == 0:
            return Alignment(points.copy(), np.empty(0))
        shape = self.deformation[slots]
        offsets = np.einsum("mij,aj->mai", shape, self._offsets).astype(np.float32)
        unit, steepest = self._pixels[slots], self._steepest[slots]
        xy = points.copy()
        for _ in range(_ROUNDS):
            seen, _ = _unit(_sample(grey, xy, offsets))
            step = np.einsum("mka,ma->mk", steepest, unit - seen)
            xy += np.einsum("mij,mj->mi", shape, step)
        seen, _ = _unit(_sample(grey, xy, offsets))
        score = np.einsum("ma,ma->m", seen, unit).astype(np.float64)
        away = ~(np.linalg.norm(xy - points, axis=1) <= reach_px)
        xy[away], score[away] = points[away], -1.0
        return Alignment(xy, score)

    def deform(self, slots: IntArray, jacobians: FloatArray) -> None:
        """Compose the frame's local motion ``jacobians`` (M, 2, 2) onto the deformations."""
        self.deformation[slots] = jacobians @ self.deformation[slots]

    def _look(self, grey: Image, points: FloatArray) -> tuple[Floats32, Floats32]:
        side = self._side
        radius = side // 2 + 1
        row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        offsets = np.stack([column.ravel(), row.ravel()], axis=1).astype(np.float32)
        wide = _sample(grey, points, np.broadcast_to(offsets, (len(points), *offsets.shape)))
        wide = wide.reshape(len(points), side + 2, side + 2)
        along_x = (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2
        along_y = (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2
        gradient = np.stack([along_x, along_y], axis=1).reshape(len(points), 2, side * side)
        centre = wide[:, 1:-1, 1:-1].reshape(len(points), side * side)
        return centre, gradient.astype(np.float32)

    def _reserve(self, count: int) -> IntArray:
        missing = count - len(self._free)
        if missing > 0:
            grow = max(missing, _GROW)
            first = len(self._pixels)
            area = self._side * self._side
            self._pixels = np.concatenate([self._pixels, np.zeros((grow, area), np.float32)])
            self._steepest = np.concatenate([self._steepest, np.zeros((grow, 2, area), np.float32)])
            self.deformation = np.concatenate([self.deformation, np.zeros((grow, 2, 2))])
            self._free.extend(range(first, first + grow))
        return np.array([self._free.pop() for _ in range(count)], dtype=np.int64)


def _sample(grey: Image, points: FloatArray, offsets: Floats32) -> Floats32:
    """Bilinear grey levels (M, A) at ``points`` + ``offsets`` (M, A, 2); edges are repeated."""
    where = points.astype(np.float32)[:, None, :] + offsets
    where = np.nan_to_num(where, nan=-1e4, posinf=-1e4, neginf=-1e4).clip(-1e4, 3e4)
    parts = [
        cv2.remap(
            grey, part[..., 0], part[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for part in np.array_split(where, -(-len(where) // 16384))
    ]
    return np.concatenate(parts).astype(np.float32)


def _unit(pixels: Floats32) -> tuple[Floats32, Floats32]:
    """Patches (M, A) with their mean taken off and scaled to unit length, and those lengths."""
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    return centred / np.maximum(norm, 1e-3)[:, None], norm
