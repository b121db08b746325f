"""Sparse optical flow: pyramidal Lucas-Kanade of OpenCV with (N, 2) float64 points."""

from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import finite_rows
from tracevlm_ros.core.types import BoolArray, FloatArray, Image

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)


class Flow(NamedTuple):
    """``xy`` (N, 2) where the points went, ``found`` (N,) whether the flow could be computed."""

    xy: FloatArray
    found: BoolArray


def follow(
    before: Image,
    after: Image,
    points: FloatArray,
    guess: FloatArray | None,
    *,
    window_px: int,
    levels: int,
) -> Flow:
    """Follow ``points`` (N, 2) from ``before`` to ``after``, starting at ``guess`` when given.

    Both images are uint8 of one size. Zero points are answered with zero points. Points whose
    coordinates are not finite are not found.
    """
    if len(points) == 0:
        return Flow(np.empty((0, 2)), np.empty(0, dtype=bool))
    finite = finite_rows(points)
    start = np.where(finite[:, None], points, 0.0).astype(np.float32)
    flags = 0
    ends = start
    if guess is not None:
        usable = finite_rows(guess)[:, None]
        ends = np.where(usable, guess, start).astype(np.float32)
        flags = cv2.OPTFLOW_USE_INITIAL_FLOW
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        start,
        ends.copy(),
        winSize=(window_px, window_px),
        maxLevel=levels,
        criteria=_STOP,
        flags=flags,
    )
    xy = np.asarray(moved, dtype=np.float64).reshape(-1, 2)
    found = (status.reshape(-1) == 1) & finite & finite_rows(xy)
    return Flow(xy, found)
