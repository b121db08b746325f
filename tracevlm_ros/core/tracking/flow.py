"""Sparse optical flow: pyramidal Lucas-Kanade of OpenCV with (N, 2) float64 points.

Before OpenCV follows anything it builds the pyramids of both images and their gradients. For few
points in a large image that is most of the work, so only the part round them is handed over.
"""

from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import finite_rows
from tracevlm_ros.core.types import BoolArray, FloatArray, Image

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03)
_EACH_ALONE = 6
_SLACK_PX = 3


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
    finite = finite_rows(points)
    start = np.where(finite[:, None], points, 0.0)
    aim = start
    if guess is not None:
        aim = np.where(finite_rows(guess)[:, None], guess, start)
    xy, found = np.empty((len(points), 2)), np.zeros(len(points), dtype=bool)
    reach = (window_px // 2 + _SLACK_PX) << levels
    for group in _groups(len(points)):
        part = _part_around(start[group], aim[group], before.shape, reach, 1 << levels)
        corner = (part[1].start, part[0].start)
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            before[part],
            after[part],
            (start[group] - corner).astype(np.float32),
            (aim[group] - corner).astype(np.float32),
            winSize=(window_px, window_px),
            maxLevel=levels,
            criteria=_STOP,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        xy[group] = np.reshape(moved, (-1, 2)) + corner
        found[group] = np.reshape(status, -1) == 1
    return Flow(xy, found & finite & finite_rows(xy))


def _groups(count: int) -> list[slice]:
    """Points that share a part of the image: each alone while they are few, else all."""
    if count <= _EACH_ALONE:
        return [slice(index, index + 1) for index in range(count)]
    return [slice(0, count)]


def _part_around(
    start: FloatArray, aim: FloatArray, shape_hw: tuple[int, ...], reach: int, step: int
) -> tuple[slice, slice]:
    """Rows and columns that the flow of these points can read: ``reach`` pixels round both ends.

    Parts begin at multiples of ``step``, so that their pyramids hold the same pixels as those of
    the whole, and are never narrower than twice ``reach`` where the image is not.
    """
    low = np.minimum(start.min(axis=0), aim.min(axis=0))[::-1]
    high = np.maximum(start.max(axis=0), aim.max(axis=0))[::-1]
    parts = []
    for length, least, most in zip(shape_hw, low, high, strict=False):
        first = int(np.clip(least - reach, 0, max(0, length - 2 * reach))) // step * step
        last = int(np.clip(most + reach + 1, first + min(length, 2 * reach), length))
        parts.append(slice(first, max(first + 1, min(last, length))))
    return parts[0], parts[1]
