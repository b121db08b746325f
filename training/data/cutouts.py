"""Objects cut out of photos and laid over others: more scenes than there are photos."""

import cv2
import numpy as np

from tracevlm_ros.core.types import BoolArray, Image
from training.data.sample import Instance, Sample

MIN_KEPT_SHARE = 0.35
_EXTENTS = (0.12, 0.55)


def paste(sample: Sample, source: Sample, chosen: int, rng: np.random.Generator) -> Sample:
    """``sample`` with instance ``chosen`` of ``source`` laid over it at a drawn size and place.

    Instances that then show less than ``MIN_KEPT_SHARE`` of themselves are no longer pointed at.
    Where nothing of the cutout would show, ``sample`` itself.
    """
    item = source.instances[chosen]
    warp = _placement(item.mask, rng)
    size = sample.image_rgb.shape[1::-1]
    alpha = cv2.warpAffine(item.mask.astype(np.float32), warp, size, flags=cv2.INTER_LINEAR)
    if alpha.sum() < 0.005 * alpha.size:
        return sample
    soft = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.0))[..., None]
    object_rgb = cv2.warpAffine(source.image_rgb, warp, size, flags=cv2.INTER_LINEAR)
    mixed = object_rgb * soft + sample.image_rgb * (1.0 - soft)
    image: Image = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    mask: BoolArray = alpha >= 0.5
    kept = [left for other in sample.instances if (left := _covered(other, mask)) is not None]
    return sample._replace(image_rgb=image, instances=(*kept, item._replace(mask=mask)))


def _placement(mask: BoolArray, rng: np.random.Generator) -> np.ndarray:
    """Affine (2, 3) that brings the object to a drawn extent and place, mirrored half the time."""
    side = mask.shape[0]
    rows, columns = np.nonzero(mask)
    extent = np.sqrt(max(1, len(rows))) / side
    scale = np.exp(rng.uniform(*np.log(_EXTENTS))) / extent
    scale = min(scale, 3.0)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    angle = np.deg2rad(rng.normal(0.0, 8.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([mirror, 1.0])
    target = rng.uniform(0.1, 0.9, 2) * side
    shift = target - linear @ (columns.mean(), rows.mean())
    return np.asarray(np.column_stack([linear, shift]))


def _covered(item: Instance, cover: BoolArray) -> Instance | None:
    before = int(item.mask.sum())
    left = item.mask & ~cover
    return item._replace(mask=left) if left.sum() >= MIN_KEPT_SHARE * before else None
