"""GrabCut (Rother et al. 2004, OpenCV) seeded by the places that were pointed to."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray, FloatArray, Image

_BRUSH = 0.008
"""Radius of the sure foreground round each point, in long sides."""
_PROBABLE = 0.6
"""The box of the points grows by this share of its longer side to each side: probable object."""
_ITERATIONS = 4


def grabcut_mask(
    image_rgb: Image, points_px: FloatArray, pen_up: BoolArray | None = None
) -> BoolArray:
    """The part of the picture that looks like the points (N, 2) and not like what is far off.

    The line through the points (broken before each ``pen_up``) is surely the object, the grown box
    round them probably, the rest surely not. Only pieces that hold a point are kept. Empty without
    a finite point inside the picture.
    """
    height, width = image_rgb.shape[:2]
    long_side = max(height, width)
    seeds = np.zeros((height, width), dtype=np.uint8)
    brush = max(1, round(_BRUSH * long_side))
    seen = np.asarray(np.isfinite(points_px).all(axis=1))
    pixels = np.rint(np.clip(np.nan_to_num(points_px), -1e6, 1e6)).astype(np.int32)
    lifted = np.zeros(len(pixels), dtype=bool) if pen_up is None else pen_up
    for index in np.flatnonzero(seen):
        tied = index > 0 and seen[index - 1] and not lifted[index]
        (x0, y0), (x1, y1) = pixels[index - 1 if tied else index], pixels[index]
        cv2.line(seeds, (int(x0), int(y0)), (int(x1), int(y1)), (1,), 2 * brush)
    if not seeds.any():
        return np.zeros((height, width), dtype=bool)
    labels = _prior(seeds)
    if not (labels == cv2.GC_BGD).any():
        return seeds > 0
    image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    box = (0, 0, 0, 0)
    cv2.grabCut(image_bgr, labels, box, models[0], models[1], _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return pieces_with(found, seeds > 0)


def _prior(seeds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """GrabCut's labels: surely object on the seeds, then probably object, probably not, not."""
    height, width = seeds.shape
    x, y, wide, tall = cv2.boundingRect(seeds)
    grow = round(_PROBABLE * max(wide, tall, max(height, width) // 10))
    labels = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    for reach, label in ((grow, cv2.GC_PR_BGD), (grow // 2, cv2.GC_PR_FGD)):
        top, left = max(0, y - reach), max(0, x - reach)
        labels[top : y + tall + reach, left : x + wide + reach] = label
    if (labels != cv2.GC_BGD).all():
        labels[[0, -1], :] = labels[:, [0, -1]] = cv2.GC_BGD
    labels[seeds > 0] = cv2.GC_FGD
    return labels


def pieces_with(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The connected pieces of ``mask`` that hold a true pixel of ``seeds``."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, dtype=bool)
    keep[np.unique(pieces[seeds & mask])] = True
    keep[0] = False
    return np.asarray(keep[pieces])
