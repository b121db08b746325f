"""What one frame did to the picture, and how sure the tracker is of each point."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import FloatArray


class PointStatus(IntEnum):
    """TRACKED: seen in this frame. CARRIED: moved with its trace or with the camera, nothing
    speaks against it. LOST: covered, outside the image, not finite, or its whole trace is lost.
    """

    LOST = 0
    CARRIED = 1
    TRACKED = 2


class FrameMotion(NamedTuple):
    """Motion of the static scene between the previous frame and this one.

    ``homography`` (3, 3) float64 maps pixels (centres at integers) of the previous frame to this
    one, ``H[2, 2] == 1``; it is the identity where nothing is known. ``ok`` is true when it was
    measured. ``cut`` is true when the video cut, changed size or went black; ``reason`` then says
    which (``"cut"``, ``"size"``, ``"black"``), else it is empty. ``inlier_share`` is the share of
    background features that agree with the homography.
    """

    homography: FloatArray
    ok: bool
    cut: bool
    inlier_share: float
    reason: str = ""

    @property
    def ends_scene(self) -> bool:
        """Whether another scene began; after black frames the same one may go on."""
        return self.cut and self.reason != "black"


def still(reason: str = "", *, ok: bool = False) -> FrameMotion:
    """The motion of a frame of which nothing is known (or, ``ok``, of the very first frame)."""
    return FrameMotion(np.eye(3), ok, reason != "", 1.0 if ok else 0.0, reason)


def apply_homography(homography: FloatArray, points: FloatArray) -> FloatArray:
    """Map ``points`` (N, 2); points on or behind the horizon come out NaN."""
    depth = points @ homography[2, :2] + homography[2, 2]
    depth = np.where(depth > 1e-6, depth, np.nan)
    mapped: FloatArray = (points @ homography[:2, :2].T + homography[:2, 2]) / depth[:, None]
    return mapped


def local_jacobians(homography: FloatArray, points: FloatArray) -> FloatArray:
    """Derivative (N, 2, 2) of the mapping at ``points`` (N, 2): how a small patch is deformed."""
    depth = points @ homography[2, :2] + homography[2, 2]
    depth = np.where(depth > 1e-6, depth, np.nan)[:, None, None]
    mapped = apply_homography(homography, points)
    jacobians: FloatArray = (
        homography[:2, :2] - mapped[:, :, None] * homography[2, :2][None, None, :]
    ) / depth
    return jacobians
