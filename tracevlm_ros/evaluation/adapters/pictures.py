"""Pictures and masks of data sets, read with errors that name the file."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, Image

_FINE = 4
"""Outlines are drawn this many times finer; a pixel counts when half of it is inside."""


def read_rgb(path: Path) -> Image:
    """uint8 (H, W, 3). Raises InputError when the file is no picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: no readable image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_mask(path: Path) -> BoolArray:
    """(H, W), true where the PNG is not 0. Raises InputError when the file is no picture."""
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"{path}: no readable mask")
    return np.asarray(mask > 0, dtype=bool)


def fill_polygons(outlines: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> BoolArray:
    """COCO outlines, each x, y, x, y ... in pixels from the corner of the image, as one mask."""
    height, width = size_hw
    fine = np.zeros((height * _FINE, width * _FINE), dtype=np.uint8)
    for outline in outlines:
        points = np.asarray(outline, dtype=np.float64).reshape(-1, 2) * _FINE - 0.5
        cv2.fillPoly(fine, [np.rint(points).astype(np.int32)], (1,))
    share = cv2.resize(fine * 255, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 128)


def decode_rle(counts: Sequence[int] | str, size_hw: tuple[int, int]) -> BoolArray:
    """COCO run lengths, column by column, zeros first; plain or in COCO's text form.

    Raises InputError when the runs do not fill the size.
    """
    runs = _text_runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if sum(runs) != size_hw[0] * size_hw[1] or min(runs, default=0) < 0:
        raise InputError(
            f"run lengths cover {sum(runs)} pixels; a mask of {size_hw} has "
            f"{size_hw[0] * size_hw[1]}"
        )
    values = np.arange(len(runs)) % 2 == 1
    flat = np.repeat(values, np.asarray(runs, dtype=np.int64))
    return np.ascontiguousarray(flat.reshape(size_hw[1], size_hw[0]).T)


def _text_runs(text: str) -> list[int]:
    """COCO's text form: base-32 digits, low first; from the third run on, differences of two."""
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        digit = ord(letter) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs
