"""COCO instances with strokes: photos, outlines, and ``strokes.json`` (annotation id -> stroke).

``instances.json`` (COCO form; polygons or run lengths), ``images/``, ``strokes.json``:
id -> [[x, y, t], ...], pixels and seconds.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, GazeSample
from tracevlm_ros.evaluation.adapters.case import (
    CLOSE_NS,
    OBJECT,
    Case,
    mask_png,
    pen_samples,
    play_still,
)
from tracevlm_ros.evaluation.adapters.pictures import decode_rle, fill_polygons
from tracevlm_ros.evaluation.ground_truth import GroundTruth, Visit


class StrokeOnPhoto(NamedTuple):
    """``size_hw`` is the photo's; ``category`` the object's name."""

    name: str
    image: Path
    size_hw: tuple[int, int]
    category: str
    outline: Any
    stroke_xyt: FloatArray

    def mask(self) -> BoolArray:
        """The object (H, W). Raises InputError for an outline that does not fit."""
        return region_mask(self.outline, self.size_hw)


def region_mask(outline: Any, size_hw: tuple[int, int]) -> BoolArray:
    """A COCO ``segmentation``: polygons, or {"counts", "size"} with plain or text run lengths."""
    if isinstance(outline, Mapping):
        height, width = outline["size"]
        return decode_rle(outline["counts"], (int(height), int(width)))
    return fill_polygons(outline, size_hw)


def read_strokes_on_photos(folder: Path) -> list[StrokeOnPhoto]:
    """Every stroke, by annotation id. Raises InputError naming what is wrong."""
    try:
        document = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
        strokes = json.loads((folder / "strokes.json").read_text(encoding="utf-8"))
        images = {image["id"]: image for image in document["images"]}
        names = {category["id"]: category["name"] for category in document["categories"]}
        found = []
        for annotation in document["annotations"]:
            key = str(annotation["id"])
            if key not in strokes:
                continue
            image = images[annotation["image_id"]]
            found.append(
                StrokeOnPhoto(
                    name=key,
                    image=folder / "images" / image["file_name"],
                    size_hw=(image["height"], image["width"]),
                    category=names[annotation["category_id"]],
                    outline=annotation["segmentation"],
                    stroke_xyt=np.asarray(strokes[key], dtype=np.float64).reshape(-1, 3),
                )
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is no folder of COCO instances with strokes: {error!r}; it needs "
            "instances.json, strokes.json and images/"
        ) from error
    return found


def instance_cases(folder: Path) -> Iterator[Case]:
    """Each stroke as a recording of a still photo; its category is the reference caption."""
    for item in read_strokes_on_photos(folder):
        pen = pen_samples(item.stroke_xyt)
        yield Case(
            f"{item.image.stem}_{item.name}",
            partial(play_still, item.image, pen),
            still_truth(pen, item.mask(), (item.category,)),
        )


def still_truth(
    pen: list[GazeSample], mask: BoolArray | None, texts: tuple[str, ...]
) -> GroundTruth:
    """Truth of ``drawn_on_still``: the mask on the frame that first has one, the words spoken."""
    end_ns = pen[-1].stamp_ns
    pngs = {} if mask is None else {end_ns + 2 * CLOSE_NS: mask_png(mask)}
    visits = (Visit(OBJECT, texts, pen[0].stamp_ns, end_ns),) if texts else ()
    return GroundTruth(visits, pngs)
