"""Photos and outlines in COCO form as they lie on a disk."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import BoolArray, Image

_FINER = 4


def refuse_held_out(folder: Path) -> None:
    """Raise ConfigError for a folder that training must not see."""
    if folder.resolve().name.endswith("_dev"):
        raise ConfigError(f"{folder} is held out; train on a folder that is not *_dev")


def read_instances(folder: Path) -> dict[str, Any]:
    """``instances.json`` of ``folder``; raises InputError when it is absent or damaged."""
    path = folder / "instances.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a folder in COCO form") from error
    return document


def read_photo(path: Path) -> Image:
    """uint8 RGB (H, W, 3); raises InputError for a damaged file."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be decoded as an image; copy it again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def fill(outlines: list[np.ndarray], size_hw: tuple[int, int]) -> BoolArray:
    """Union of polygons as a bool mask: pixels of which at least half lies inside.

    Coordinates are pixels with the origin at the corner of the image, as COCO has them. Filled four
    times finer and averaged, since OpenCV also fills every pixel that an outline touches.
    """
    mask = np.zeros(size_hw, np.bool_)
    corners = np.concatenate(outlines)
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)), size_hw[::-1]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return mask
    fine = np.zeros(((y1 - y0) * _FINER, (x1 - x0) * _FINER), np.uint8)
    for outline in outlines:
        points = np.round(((outline - (x0, y0)) * _FINER - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(fine, [points], 255, cv2.LINE_8, 4)
    shares = cv2.resize(fine, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_AREA)
    mask[y0:y1, x0:x1] = shares >= 128
    return mask
