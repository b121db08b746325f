"""The motion of the static scene: a grid of corner features, followed, and a robust homography."""

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import within
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.flow import follow
from tracevlm_ros.core.tracking.motion import FrameMotion, apply_homography, still
from tracevlm_ros.core.tracking.pictures import Pictures
from tracevlm_ros.core.types import BoolArray, FloatArray, Image

_RANSAC_PX = 1.0
_RANSAC_ROUNDS = 200
_MIN_FEATURES = 8
_REFILL_SHARE = 0.7


def grid_corners(image: Image, rows: int, columns: int) -> FloatArray:
    """The strongest corner of each cell of a ``rows`` x ``columns`` grid, (M, 2) pixels.

    M is at most ``rows * columns``: cells without structure give nothing, nor do images smaller
    than two pixels a cell.
    """
    height, width = image.shape[0] // rows, image.shape[1] // columns
    if min(height, width) < 2:
        return np.empty((0, 2))
    strength = cv2.cornerMinEigenVal(image, 5)
    cells = strength[: height * rows, : width * columns].reshape(rows, height, columns, width)
    flat = cells.transpose(0, 2, 1, 3).reshape(rows * columns, height * width)
    best = flat.argmax(axis=1)
    peak = flat[np.arange(rows * columns), best]
    cell = np.arange(rows * columns)
    x = (cell % columns) * width + best % width
    y = (cell // columns) * height + best // width
    strong = peak > max(1e-6, 0.01 * float(peak.max()))
    corners: FloatArray = np.stack([x, y], axis=1)[strong].astype(np.float64)
    return corners


class Background:
    """Follows background features from frame to frame; positions in working pixels."""

    def __init__(self, config: TrackingConfig) -> None:
        self._config = config
        self._points: FloatArray = np.empty((0, 2))
        self._detected = 0

    def reset(self) -> None:
        self._points = np.empty((0, 2))

    def detect(self, pictures: Pictures) -> None:
        """Take features of ``pictures`` anew; the next ``measure`` starts from that frame."""
        ratio = np.array(pictures.work.shape[::-1]) / np.array(pictures.thumbnail.shape[::-1])
        corners = grid_corners(
            pictures.thumbnail, self._config.grid_rows, self._config.grid_columns
        )
        self._points = (corners + 0.5) * ratio - 0.5
        self._detected = len(corners)

    def measure(self, before: Pictures, after: Pictures) -> FrameMotion:
        """Homography of full-resolution pixels from ``before`` to ``after`` (same size)."""
        if len(self._points) <= _REFILL_SHARE * self._detected:
            self.detect(before)
        start = self._points
        flow = follow(
            before.work,
            after.work,
            start,
            None,
            window_px=self._config.background_window_px,
            levels=self._config.levels,
        )
        found = flow.found & within(flow.xy, after.work.shape)
        homography, agree = _robust_homography(start[found], flow.xy[found])
        self._points = flow.xy[found][agree]
        share = float(agree.sum()) / max(1, len(start))
        if homography is None or agree.sum() < _MIN_FEATURES:
            self._points = np.empty((0, 2))
            return still()._replace(inlier_share=share)
        return FrameMotion(_full_resolution(homography, before), True, False, share)


def _robust_homography(start: FloatArray, end: FloatArray) -> tuple[FloatArray | None, BoolArray]:
    nobody = np.zeros(len(start), dtype=bool)
    if len(start) < _MIN_FEATURES:
        return None, nobody
    found, mask = cv2.findHomography(start, end, cv2.RANSAC, _RANSAC_PX, maxIters=_RANSAC_ROUNDS)
    if found is None or not np.isfinite(found).all():
        return None, nobody
    homography = np.asarray(found, dtype=np.float64)
    if not 0.1 < np.linalg.det(homography[:2, :2]) < 10.0:
        return None, nobody
    agree = mask.reshape(-1).astype(bool)
    agree &= np.linalg.norm(apply_homography(homography, start) - end, axis=1) < 2 * _RANSAC_PX
    return homography, agree


def _full_resolution(homography: FloatArray, pictures: Pictures) -> FloatArray:
    sx, sy = pictures.scale
    to_work = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
    full = np.linalg.inv(to_work) @ homography @ to_work
    result: FloatArray = full / full[2, 2]
    return result
