"""The motion of the static scene: a grid of corner features, followed, and a robust homography."""

from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.tracking.bounds import within
from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.flow import follow
from tracevlm_ros.core.tracking.motion import FrameMotion, apply_homography, still
from tracevlm_ros.core.tracking.pictures import Pictures
from tracevlm_ros.core.types import FloatArray, Image

_RANSAC_PX = 1.0
_RANSAC_ROUNDS = 200
_MIN_FEATURES = 8
_REFILL_SHARE = 0.7
_TRUSTED_SHARE = 0.4


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
    """Follows background features from frame to frame; positions in working pixels.

    Features are *proved* once they agreed with a homography. While enough proved ones are left
    the homography is fitted to them alone, so that something big that moves into the picture
    cannot take it over.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Start anew with the next frame."""
        self._points: FloatArray = np.empty((0, 2))
        self._proved = np.empty(0, dtype=bool)
        self._detected = 0
        self._is_prepared = False

    def prepare(self, before: Pictures) -> None:
        """Find new features where too few are left; ``measure`` does it where nobody did."""
        if not self._is_prepared and len(self._points) <= _REFILL_SHARE * self._detected:
            self._refill(before)
        self._is_prepared = True

    def measure(self, before: Pictures, after: Pictures) -> FrameMotion:
        """Homography of full-resolution pixels from ``before`` to ``after`` (same size)."""
        self.prepare(before)
        self._is_prepared = False
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
        start, end, proved = start[found], flow.xy[found], self._proved[found]
        fit = _robust_homography(start[proved], end[proved])
        if fit is None or fit.share < _TRUSTED_SHARE:
            fit = _robust_homography(start, end)
        if fit is None:
            self.reset()
            return still()
        error = np.linalg.norm(apply_homography(fit.homography, start) - end, axis=1)
        agree = error < 2 * _RANSAC_PX
        share = float(agree.sum()) / max(1, len(self._points))
        self._points, self._proved = end[agree], np.ones(int(agree.sum()), dtype=bool)
        if agree.sum() < _MIN_FEATURES:
            self.reset()
            return still()._replace(inlier_share=share)
        return FrameMotion(_full_resolution(fit.homography, before), True, False, share)

    def _refill(self, pictures: Pictures) -> None:
        """Add a feature of ``pictures`` in every grid cell that holds none."""
        rows, columns = self._config.grid_rows, self._config.grid_columns
        ratio = np.array(pictures.work.shape[::-1]) / np.array(pictures.thumbnail.shape[::-1])
        corners = (grid_corners(pictures.thumbnail, rows, columns) + 0.5) * ratio - 0.5
        size = np.array(pictures.work.shape[::-1]) / (columns, rows)
        taken = {(int(column), int(row)) for column, row in self._points // size}
        new = [point for point in corners if tuple((point // size).astype(int)) not in taken]
        self._points = np.concatenate([self._points, np.reshape(new, (-1, 2))])
        self._proved = np.concatenate([self._proved, np.zeros(len(new), dtype=bool)])
        self._detected = len(self._points)


class _Fit(NamedTuple):
    """``homography`` (3, 3) and the ``share`` of features that agree with it."""

    homography: FloatArray
    share: float


def _robust_homography(start: FloatArray, end: FloatArray) -> _Fit | None:
    """RANSAC on matches (M, 2); None when they are too few or the result is absurd."""
    if len(start) < _MIN_FEATURES:
        return None
    found, mask = cv2.findHomography(
        start, end, cv2.USAC_ACCURATE, _RANSAC_PX, maxIters=_RANSAC_ROUNDS
    )
    if found is None or not np.isfinite(found).all():
        return None
    homography = np.asarray(found, dtype=np.float64)
    if not 0.1 < np.linalg.det(homography[:2, :2]) < 10.0:
        return None
    return _Fit(homography, float(np.mean(mask != 0)))


def _full_resolution(homography: FloatArray, pictures: Pictures) -> FloatArray:
    sx, sy = pictures.scale
    to_work = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
    full = np.linalg.inv(to_work) @ homography @ to_work
    result: FloatArray = full / full[2, 2]
    return result
