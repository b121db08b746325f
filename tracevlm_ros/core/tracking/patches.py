"""What each keypoint looked like when it was first seen, and where that is in a new frame.

Following from frame to frame adds up small errors; comparing with the first sight does not. A
patch is aligned by inverse-compositional Gauss-Newton (Baker and Matthews 2004) for translation,
with brightness and contrast normalised away and the patch deformed by the motion known so far.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.tracking.bounds import finite_rows, within
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, IntArray

_GOOD_SCORE = 0.9
_REMAP_ROWS = 16384
_STEEPEST, _UNIT, _ONES = slice(0, 2), 2, 3
_FAR = (-1e4, 3e4)
_GROW = 128
_FLAT = 8.0
_LEVEL_STEP = 10.0
_SPREAD_STEP = 4.0
_UNLIKE = 0.6
_ADAPT = 0.1

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
        self._offsets = np.stack([column.ravel(), row.ravel()]).astype(np.float32)
        self._side = side_px
        self._min_contrast = min_contrast
        area = side_px * side_px
        self._kernels: Floats32 = np.empty((0, 4, area), dtype=np.float32)
        self._level: Floats32 = np.empty(0, dtype=np.float32)
        self._contrast: Floats32 = np.empty(0, dtype=np.float32)
        self.followable: BoolArray = np.empty(0, dtype=bool)
        self.deformation: FloatArray = np.empty((0, 2, 2))
        self._free: list[int] = []

    def release(self, slots: IntArray) -> None:
        """Give slots back; -1 entries are skipped."""
        self._free.extend(int(slot) for slot in slots if slot >= 0)

    def capture(self, grey: Image, points: FloatArray) -> IntArray:
        """Keep the looks of ``points`` (M, 2) in ``grey``; slot numbers (M,), -1 for those outside.

        ``followable[slot]`` says whether there is enough structure (``min_contrast`` in the
        weaker direction) to find the patch again.
        """
        slots = np.full(len(points), -1, dtype=np.int64)
        chosen = np.flatnonzero(within(points, grey.shape))
        if len(chosen) == 0:
            return slots
        taken = self._reserve(len(chosen))
        slots[chosen] = taken
        pixels, gradient = self._look(grey, points[chosen])
        normal = gradient @ gradient.transpose(0, 2, 1)
        weaker = np.linalg.eigvalsh(normal / pixels.shape[1])[:, 0]
        self.followable[taken] = weaker >= self._min_contrast**2
        unit, norm = _unit(pixels)
        slope = gradient / np.maximum(norm, 1e-3)[:, None, None]
        slope -= slope.mean(axis=2, keepdims=True)
        slope -= (slope @ unit[:, :, None]) * unit[:, None, :]
        hessian = slope @ slope.transpose(0, 2, 1) + 1e-6 * np.eye(2, dtype=np.float32)
        self._kernels[taken, _STEEPEST] = np.linalg.solve(hessian, slope)
        self._kernels[taken, _UNIT] = unit
        self._kernels[taken, _ONES] = 1.0
        self._level[taken] = pixels.mean(axis=1)
        self._contrast[taken] = norm / self._side
        self.deformation[taken] = np.eye(2)
        return slots

    def followed(self, slots: IntArray, points: IntArray) -> IntArray:
        """Those of ``points`` (indices into ``slots``) whose patch can be found again."""
        at = slots[points]
        return points[(at >= 0) & self.followable[at]] if len(self.followable) else points[:0]

    def weak(self, slots: IntArray, points: IntArray) -> IntArray:
        """Those of ``points`` whose patch has too little structure to be found again."""
        at = slots[points]
        return points[(at >= 0) & ~self.followable[at]] if len(self.followable) else points[:0]

    def align(
        self, grey: Image, slots: IntArray, points: FloatArray, reach_px: float, *, rounds: int = 3
    ) -> Alignment:
        """Move ``points`` (M, 2) onto the patches of ``slots``, by at most ``reach_px``.

        Points that would move farther come back unmoved with score -1. Two Gauss-Newton steps
        make a round; only points that do not look right after the first one take the others.
        """
        if len(slots) == 0:
            return Alignment(points.copy(), np.empty(0))
        known = finite_rows(points)
        xy = np.where(known[:, None], points, 0.0)
        look = _Look(self._kernels[slots], self.deformation[slots], self._offsets)
        score = look.refine(grey, xy, 2)
        poor = np.flatnonzero(score < _GOOD_SCORE)
        if len(poor) and rounds > 1:
            again = xy[poor]
            score[poor] = look.part(poor).refine(grey, again, 2 * (rounds - 1))
            xy[poor] = again
        with np.errstate(invalid="ignore"):
            away = ~(np.linalg.norm(xy - points, axis=1) <= reach_px)
        xy[away], score[away] = points[away], -1.0
        return Alignment(xy, score)

    def covered(self, grey: Image, slots: IntArray, points: FloatArray) -> BoolArray:
        """Which of the patches look different at ``points`` (M, 2), without moving them.

        Patches with structure are compared by correlation, flat ones by grey level and spread;
        the level follows slow changes of exposure.
        """
        if len(slots) == 0:
            return np.zeros(0, dtype=bool)
        pixels = _sample(grey, points, _lattice(self.deformation[slots], self._offsets))
        unit, norm = _unit(pixels)
        level, contrast = pixels.mean(axis=1), norm / self._side
        before = self._contrast[slots]
        flat = before < _FLAT
        score = (unit * self._kernels[slots, _UNIT]).sum(axis=1)
        other = (np.abs(level - self._level[slots]) > _LEVEL_STEP) | (
            contrast > 1.5 * before + _SPREAD_STEP
        )
        covered: BoolArray = np.where(flat, other, score < _UNLIKE)
        same = slots[~covered]
        self._level[same] += _ADAPT * (level[~covered] - self._level[same])
        return covered

    def deform(self, slots: IntArray, jacobians: FloatArray) -> None:
        """Compose the frame's local motion ``jacobians`` (M, 2, 2) onto the deformations."""
        self.deformation[slots] = jacobians @ self.deformation[slots]

    def _look(self, grey: Image, points: FloatArray) -> tuple[Floats32, Floats32]:
        side = self._side
        radius = side // 2 + 1
        row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        offsets = np.stack([column.ravel(), row.ravel()])[:, None].astype(np.float32)
        wide = _sample(grey, points, offsets)
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
            first = len(self._kernels)
            area = self._side * self._side
            self._kernels = np.concatenate([self._kernels, np.zeros((grow, 4, area), np.float32)])
            self._level = np.concatenate([self._level, np.zeros(grow, np.float32)])
            self._contrast = np.concatenate([self._contrast, np.zeros(grow, np.float32)])
            self.followable = np.concatenate([self.followable, np.zeros(grow, bool)])
            self.deformation = np.concatenate([self.deformation, np.zeros((grow, 2, 2))])
            self._free.extend(range(first, first + grow))
        return np.array([self._free.pop() for _ in range(count)], dtype=np.int64)


class _Look:
    """The patches of M points as they should appear in one frame.

    ``kernels`` (M, 4, A) times grey levels (M, A) gives at once the step of Gauss-Newton (2), the
    product with the patch and the sum: the first three ignore brightness, since their rows sum to
    zero, and the steepest rows ignore contrast, since they are orthogonal to the patch.
    """

    def __init__(self, kernels: Floats32, shape: FloatArray, offsets: Floats32) -> None:
        self._kernels = kernels
        self._shape = shape
        self._offsets = offsets
        self._lattice = _lattice(shape, offsets)

    def part(self, chosen: IntArray) -> "_Look":
        return _Look(self._kernels[chosen], self._shape[chosen], self._offsets)

    def refine(self, grey: Image, xy: FloatArray, steps: int) -> FloatArray:
        """Gauss-Newton ``steps``, written to ``xy`` (M, 2); the score before the last one."""
        score = np.zeros(len(xy))
        for _ in range(steps):
            seen = _sample(grey, xy, self._lattice)
            products = np.matmul(self._kernels, seen[:, :, None])[:, :, 0].astype(np.float64)
            energy = np.einsum("ma,ma->m", seen, seen).astype(np.float64)
            energy -= products[:, _ONES] ** 2 / seen.shape[1]
            norm = np.sqrt(np.maximum(energy, 1.0))
            products /= norm[:, None]
            xy -= np.matmul(self._shape, products[:, _STEEPEST, None])[:, :, 0]
            np.clip(xy, _FAR[0], _FAR[1], out=xy)
            score = products[:, _UNIT]
        return score


def _lattice(shape: FloatArray, offsets: Floats32) -> Floats32:
    """Offsets (2, M, A) of the pixels of patches deformed by ``shape`` (M, 2, 2)."""
    rows = np.ascontiguousarray(shape.transpose(1, 0, 2), dtype=np.float32)
    lattice: Floats32 = (rows.reshape(-1, 2) @ offsets).reshape(2, len(shape), -1)
    return lattice


def _sample(grey: Image, points: FloatArray, lattice: Floats32) -> Floats32:
    """Bilinear grey levels (M, A) at ``points`` (M, 2) + ``lattice`` (2, M or 1, A)."""
    where = points.astype(np.float32).T[:, :, None] + lattice
    parts = [
        cv2.remap(
            grey,
            where[0, first : first + _REMAP_ROWS],
            where[1, first : first + _REMAP_ROWS],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for first in range(0, len(points), _REMAP_ROWS)
    ]
    sampled = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return sampled.astype(np.float32)


def _unit(pixels: Floats32) -> tuple[Floats32, Floats32]:
    """Patches (M, A) with their mean taken off and scaled to unit length, and those lengths."""
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    norm = np.sqrt((centred * centred).sum(axis=1))
    return centred / np.maximum(norm, 1e-3)[:, None], norm


def likeness(
    one: Image, points_one: FloatArray, two: Image, points_two: FloatArray, side_px: int
) -> FloatArray:
    """Correlation (M,) of upright patches at ``points_one`` of ``one`` and the same of ``two``."""
    radius = side_px // 2
    row, column = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    lattice = np.stack([column.ravel(), row.ravel()])[:, None].astype(np.float32)
    seen = _unit(_sample(one, points_one, lattice))[0] * _unit(_sample(two, points_two, lattice))[0]
    correlation: FloatArray = seen.sum(axis=1).astype(np.float64)
    return correlation
