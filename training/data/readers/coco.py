"""COCO instances and captions, joined by image (Lin et al. 2014).

``{images[{id, file_name, width, height}], annotations[...], categories[{id, name}]}``; annotations
carry ``segmentation`` (instances) or ``caption`` (captions); a file may hold either or both.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracevlm_ros.core.drops import Drops
from training.data.readers.pictures import PhotoFile
from training.data.readers.records import Record, Region
from training.data.readers.shapes import read_segmentation
from training.data.readers.source import MALFORMED, Source, expected_form, read_json, require_keys

FORM = "coco"


class CocoFile:
    """A file in COCO form by image id: ``images`` (id -> entry), ``annotations`` (id -> list),
    ``categories`` (id -> name). Annotations of an unknown image are counted in ``drops``."""

    def __init__(self, path: Path, drops: Drops) -> None:
        document = require_keys(path, read_json(path), "images", "annotations")
        with expected_form(path, FORM):
            self.images: dict[int, dict[str, Any]] = {
                int(image["id"]): {**image, "file_name": str(image["file_name"])}
                for image in document["images"]
            }
            self.categories: dict[int, str] = {
                int(item["id"]): str(item["name"]) for item in document.get("categories", [])
            }
            self.annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for annotation in document["annotations"]:
                self.annotations[int(annotation["image_id"])].append(annotation)
        for image_id in [known for known in self.annotations if known not in self.images]:
            drops["annotation_without_image"] += len(self.annotations.pop(image_id))


class Coco:
    """One record an image that has at least one usable annotation.

    ``read`` counts as unusable: missing pictures, excluded images, crowds, unknown categories,
    polygons that are malformed or outside the image, empty captions.
    """

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        self._file = CocoFile(source.annotations, self.drops)
        self._images = source.images or source.annotations.parent
        self._ids = sorted(self._file.images)

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, index: int) -> Record | None:
        image_id = self._ids[index]
        image = self._file.images[image_id]
        if image_id in self._source.excluded:
            self.drops["image_excluded"] += 1
            return None
        path = picture_path(self._images, image["file_name"])
        if path is None:
            self.drops["picture_missing"] += 1
            return None
        annotations = self._file.annotations.get(image_id, [])
        regions = [found for item in annotations if (found := self._region(item, image))]
        captions = [text for item in annotations if (text := self._caption(item))]
        if not regions and not captions:
            self.drops["picture_without_annotation"] += 1
            return None
        return Record(
            f"coco/{image_id}",
            FORM,
            self.split,
            (PhotoFile(path),),
            captions=tuple(captions),
            regions=tuple(regions),
        )

    def _region(self, annotation: Mapping[str, Any], image: Mapping[str, Any]) -> Region | None:
        if "segmentation" not in annotation:
            return None
        return coco_region(annotation, image, self._file.categories, self.drops)

    def _caption(self, annotation: Mapping[str, Any]) -> str:
        if "caption" not in annotation:
            return ""
        text = " ".join(str(annotation["caption"]).split())
        if not text:
            self.drops["caption_empty"] += 1
        return text


def coco_region(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any],
    categories: Mapping[int, str],
    drops: Drops,
    expressions: tuple[str, ...] = (),
) -> Region | None:
    """The object of one annotation; None, counted, when it cannot be used."""
    if annotation.get("iscrowd"):
        drops["annotation_crowd"] += 1
        return None
    try:
        key = f"coco/{annotation['id']}"
        category = categories.get(annotation.get("category_id", -1), "")
        size_hw = (int(image["height"]), int(image["width"]))
        segmentation = annotation["segmentation"]
    except MALFORMED:
        drops["annotation_malformed"] += 1
        return None
    if not category:
        drops["annotation_unknown_category"] += 1
        return None
    shape = read_segmentation(segmentation, size_hw, drops)
    return None if shape is None else Region(key, category, ((0, shape),), expressions)


def picture_path(folder: Path, file_name: str) -> Path | None:
    """Where ``file_name`` lies: in ``folder``, its ``images``, or beside it; None when nowhere."""
    bases = (folder, folder / "images", folder.parent, folder.parent / "images")
    return next((base / file_name for base in bases if (base / file_name).is_file()), None)
