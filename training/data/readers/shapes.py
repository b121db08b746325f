"""Outlines of objects as data sets store them, drawn as masks when asked.

``mask(size_hw)`` draws the shape at any size of the picture, so it can be asked at the model's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, Image
from training.data.photos_on_disk import fill

_FARTHEST_PX = 100_000.0
_MOST_PIXELS = 1 << 28


class Shape(Protocol):
    """The place of one object in one picture."""

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        """bool ``size_hw``; InputError when a file that holds it is damaged."""


class Outlines(NamedTuple):
    """Polygons (n, 2) in pixels of a picture of ``size_hw``, their union is the object."""

    polygons: tuple[FloatArray, ...]
    size_hw: tuple[int, int]

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        scale = (size_hw[1] / self.size_hw[1], size_hw[0] / self.size_hw[0])
        return fill([polygon * scale for polygon in self.polygons], size_hw)


class RunLengths(NamedTuple):
    """COCO run lengths: pixels column by column, ``counts`` of zeros and ones in turn."""

    counts: tuple[int, ...]
    size_hw: tuple[int, int]

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        height, width = self.size_hw
        values = np.arange(len(self.counts)) % 2 == 1
        flat = np.repeat(values, self.counts)
        return fit_mask(flat.reshape(width, height).T, size_hw)


class Box(NamedTuple):
    """(x1, y1, x2, y2) in shares of the picture."""

    xyxy: tuple[float, float, float, float]

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        height, width = size_hw
        x = (np.arange(width) + 0.5) / width
        y = (np.arange(height) + 0.5) / height
        x1, y1, x2, y2 = self.xyxy
        return ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))


class LabelFile(NamedTuple):
    """The pixels of an image file with value ``label``: a grey file holds labels, a colour file
    COCO panoptic ids (R + 256 G + 65536 B)."""

    path: Path
    label: int

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        return fit_mask(read_labels(self.path) == self.label, size_hw)


class Labelled(Protocol):
    """A picture that knows which object each pixel shows."""

    def labels(self) -> Image:
        """uint8 (H, W)."""


class DrawnObject(NamedTuple):
    """Object ``label`` of a synthetic picture."""

    picture: Labelled
    label: int

    def mask(self, size_hw: tuple[int, int]) -> BoolArray:
        return fit_mask(self.picture.labels() == self.label, size_hw)


def fit_mask(mask: BoolArray, size_hw: tuple[int, int]) -> BoolArray:
    """``mask`` stretched to ``size_hw``: a pixel is set when at least half of it was."""
    if mask.shape == size_hw:
        return np.ascontiguousarray(mask)
    shares = cv2.resize(
        mask.astype(np.float32), (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA
    )
    return np.asarray(shares >= 0.5, np.bool_)


def read_labels(path: Path) -> np.ndarray:
    """Labels (H, W) of an image file, see ``LabelFile``. InputError when it is damaged."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} cannot be decoded as a label image; copy it again")
    if image.ndim == 2:
        return np.asarray(image)
    blue, green, red = (image[..., channel].astype(np.int64) for channel in range(3))
    return np.asarray(red + 256 * green + 65536 * blue)


def read_segmentation(
    segmentation: object, size_hw: tuple[int, int], drops: Drops
) -> Outlines | RunLengths | None:
    """A COCO ``segmentation``: a list of polygons, or run lengths (a list or packed text).

    Polygons of fewer than three corners, or with a corner that is not finite or absurdly far away,
    and those that lie outside the picture altogether are left out and counted; None when nothing is
    left.
    """
    if isinstance(segmentation, Mapping):
        shape = _run_lengths(segmentation)
        if shape is None:
            drops["run_lengths_malformed"] += 1
        elif not any(shape.counts[1::2]):
            drops["mask_empty"] += 1
            return None
        return shape
    if min(size_hw) < 1:
        drops["picture_without_size"] += 1
        return None
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str) or not segmentation:
        drops["annotation_without_polygon"] += 1
        return None
    polygons = [found for item in segmentation if (found := _polygon(item, size_hw, drops))]
    return Outlines(tuple(found[0] for found in polygons), size_hw) if polygons else None


def _polygon(item: object, size_hw: tuple[int, int], drops: Drops) -> tuple[FloatArray] | None:
    try:
        corners = np.asarray(item, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        drops["polygon_malformed"] += 1
        return None
    if len(corners) < 3 or not (np.abs(corners) <= _FARTHEST_PX).all():
        drops["polygon_malformed"] += 1
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (high <= 0).any() or (low >= (size_hw[1], size_hw[0])).any():
        drops["polygon_outside_image"] += 1
        return None
    return (corners,)


def _run_lengths(stored: Mapping[str, Any]) -> RunLengths | None:
    """None unless the counts are whole, not negative, and fill a picture of sane size exactly."""
    try:
        height, width = (int(side) for side in stored["size"])
        raw = stored["counts"]
        counts = unpack_counts(raw) if isinstance(raw, str | bytes) else tuple(map(int, raw))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    pixels = height * width if min(height, width) > 0 else 0
    if min(counts, default=-1) < 0 or sum(counts) != pixels or not 0 < pixels <= _MOST_PIXELS:
        return None
    return RunLengths(counts, (height, width))


def unpack_counts(packed: str | bytes) -> tuple[int, ...]:
    """COCO's packed run lengths: little-endian groups of 5 bits + 48, bit 5 says that more follow,
    bit 4 of the last is the sign; from the third on, each is the difference to the one two before.

    Raises ValueError where the text ends within a number or holds other characters.
    """
    data = packed.encode("ascii") if isinstance(packed, str) else packed
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        group = byte - 48
        if not 0 <= group < 64:
            raise ValueError(f"byte {byte} is no part of packed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("packed run lengths end within a number")
    return tuple(counts)
