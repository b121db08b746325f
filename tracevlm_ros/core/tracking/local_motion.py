"""The motion of one trace against the static scene: its object may move on its own."""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import BoolArray, FloatArray

_ROUNDS = 4
_MIN_AFFINE = 5
_MAX_CANDIDATES = 24


class LocalMotion(NamedTuple):
    """Displacement ``shift + (point - centre) @ linear.T`` on top of the frame's homography.

    ``support`` is the number of keypoints that agree; 0 means that nothing is known.
    """

    centre: FloatArray
    shift: FloatArray
    linear: FloatArray
    support: int

    def displacement(self, points: FloatArray) -> FloatArray:
        """Displacements (N, 2) at ``points`` (N, 2), both in pixels of the new frame."""
        moved: FloatArray = self.shift + (points - self.centre) @ self.linear.T
        return moved


def no_motion() -> LocalMotion:
    """Moves with the scene; supported by nobody."""
    return LocalMotion(np.zeros(2), np.zeros(2), np.zeros((2, 2)), 0)


def fit_local_motion(
    predicted: FloatArray, measured: FloatArray, gate_px: float, *, stiffness: float = 2.0
) -> tuple[LocalMotion, BoolArray]:
    """Fit the motion of most keypoints and say which ones agree within ``gate_px``.

    ``predicted`` (K, 2): where the homography puts them; ``measured`` (K, 2): where they were
    found. The start is the displacement that most keypoints share; an affine map is fitted to
    those that agree; ``stiffness`` points' worth of no deformation hold its linear part back. Fewer
    than two
    agreeing keypoints of several are no motion, nor are any that are not finite.
    """
    count = len(predicted)
    nobody = np.zeros(count, dtype=bool)
    if count == 0:
        return no_motion(), nobody
    displacement = measured - predicted
    if not np.isfinite(displacement).all():
        return no_motion(), nobody
    dx, dy = displacement.T
    every = slice(None, None, max(1, count // _MAX_CANDIDATES))
    apart = (dx - dx[every, None]) ** 2 + (dy - dy[every, None]) ** 2
    loose = apart < (2 * gate_px) ** 2
    agree = loose[int(loose.sum(axis=1).argmax())]
    motion = no_motion()
    for _ in range(_ROUNDS):
        motion = _least_squares(predicted[agree], displacement[agree], stiffness)
        ex, ey = (motion.displacement(predicted) - displacement).T
        closer = ex * ex + ey * ey < gate_px * gate_px
        unchanged = bool((closer == agree).all())
        agree = closer
        if unchanged or not closer.any():
            break
    if agree.sum() < min(2, count):
        return no_motion(), nobody
    return motion._replace(support=int(agree.sum())), agree


def _least_squares(points: FloatArray, displacement: FloatArray, stiffness: float) -> LocalMotion:
    count = len(points)
    centre = points.sum(axis=0) / count
    shift = displacement.sum(axis=0) / count
    linear = np.zeros((2, 2))
    if count >= _MIN_AFFINE:
        offset = points - centre
        normal = offset.T @ offset
        normal += (stiffness * np.trace(normal) / count + 1e-6) * np.eye(2)
        linear = np.linalg.solve(normal, offset.T @ (displacement - shift)).T
    return LocalMotion(centre, shift, linear, count)
