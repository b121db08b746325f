"""Panoptic Narrative Grounding: narratives of COCO photos whose noun phrases name segments.

The folder is the set's own: ``images/<split>/``, ``annotations/png_coco_<split>.json``,
``annotations/panoptic_<split>.json`` and ``annotations/panoptic_segmentation/<split>/``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.metrics.grounding_recall import segment_ids

SPLIT = "val2017"


class NounPhrase(NamedTuple):
    """``segments`` are ids of the photo's panoptic picture; a thing where the first of them is."""

    text: str
    segments: tuple[int, ...]
    is_thing: bool
    is_plural: bool


class GroundedNarrative(NamedTuple):
    """One narrative with at least one phrase that has segments."""

    image: Path
    panoptic: Path
    phrases: tuple[NounPhrase, ...]

    def ids(self) -> NDArray[np.int64]:
        """Segment of each pixel (H, W). Raises InputError when the picture cannot be read."""
        return segment_ids(read_rgb(self.panoptic))


def read_grounded_narratives(folder: Path, split: str = SPLIT) -> list[GroundedNarrative]:
    """Narratives in the order of the file. Raises InputError naming what is missing or wrong."""
    annotations = folder / "annotations"
    reading = "the segments"
    try:
        panoptic = _read(annotations / f"panoptic_{split}.json")
        things = {one["id"] for one in panoptic["categories"] if one["isthing"]}
        segments = {
            int(one["image_id"]): {int(part["id"]): part for part in one["segments_info"]}
            for one in panoptic["annotations"]
        }
        found = []
        for number, narrative in enumerate(_read(annotations / f"png_coco_{split}.json")):
            reading = f"narrative {number}"
            image_id = int(narrative["image_id"])
            phrases = _phrases(narrative, segments[image_id], things)
            if phrases:
                name = f"{image_id:012d}"
                png = annotations / "panoptic_segmentation" / split / f"{name}.png"
                image = folder / "images" / split / f"{name}.jpg"
                found.append(GroundedNarrative(image, png, phrases))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is no Panoptic Narrative Grounding of {split}: {reading}: {error!r}; "
            "docs/benchmarks.md names the files"
        ) from error
    return found


def _phrases(
    narrative: Mapping[str, Any], known: Mapping[int, Mapping[str, Any]], things: set[int]
) -> tuple[NounPhrase, ...]:
    found = []
    for part in narrative["segments"]:
        ids = tuple(int(one) for one in part["segment_ids"])
        if part["noun"] and ids:
            is_thing = known[ids[0]]["category_id"] in things
            found.append(NounPhrase(part["utterance"].strip(), ids, is_thing, bool(part["plural"])))
    return tuple(found)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
