"""Photos with instance polygons in COCO form as training samples: crops, flips, light."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Image
from training.data.augment import degrade, mirror, relight
from training.data.captioned_photos import CaptionedPhotos
from training.data.categories import CATEGORIES, phrase
from training.data.photos_on_disk import fill, read_instances, read_photo, refuse_held_out
from training.data.sample import Instance, Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoConfig:
    """``whole_share`` of the samples are whole photos, ``close_share`` windows round one object, as
    a fovea sees it, the others crops of at least ``min_crop`` of each side. Instances below
    ``min_area_share`` of the picture are not pointed at."""

    whole_share: float = 0.35
    close_share: float = 0.0
    min_crop: float = 0.45
    min_area_share: float = 0.004
    min_kept_share: float = 0.4

    def __post_init__(self) -> None:
        for name in ("whole_share", "close_share", "min_crop", "min_area_share", "min_kept_share"):
            require_range(name, getattr(self, name), 0.0, 1.0)


class Polygons(NamedTuple):
    """One annotated object: outlines in pixels of the photo, each (n, 2), and its category."""

    annotation_id: int
    category: str
    outlines: tuple[np.ndarray, ...]
    area_px: float


class Photo(NamedTuple):
    path: Path
    size_hw: tuple[int, int]
    objects: tuple[Polygons, ...]


class InstancePhotos:
    """Photos of a folder with ``instances.json`` and ``images/``; rare categories come more often.

    Annotations without usable polygons, without image or below the smallest area are left out and
    counted in ``drops``. Whole photos carry the captions that ``captioned`` knows for their names.
    Raises ConfigError for a held-out (``*_dev``) folder when ``training``.
    """

    def __init__(
        self,
        folder: Path,
        image_size: int,
        config: PhotoConfig,
        training: bool = True,
        captioned: CaptionedPhotos | None = None,
    ) -> None:
        if training:
            refuse_held_out(folder)
        self.drops = Drops()
        self._size = image_size
        self._config = config
        self._captions = {} if captioned is None else captioned.by_name
        self.photos = self._read(folder)
        counts = Counter(o.category for photo in self.photos for o in photo.objects)
        self.category_counts = dict(counts)
        rarity = {name: count**-0.5 for name, count in counts.items()}
        self._rarity: Mapping[str, float] = rarity
        weights = np.array([max(rarity[o.category] for o in p.objects) for p in self.photos])
        self._photo_weights = weights / weights.sum()

    def picture(self, rng: np.random.Generator) -> Image:
        """Any photo, or a crop of it: a background for synthetic scenes."""
        photo = self.photos[int(rng.integers(len(self.photos)))]
        image = read_photo(photo.path)
        x0, y0, x1, y1 = self._crop(rng, photo.size_hw)
        crop = image[y0:y1, x0:x1]
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)

    def sample(self, rng: np.random.Generator) -> Sample:
        """A photo or part of it that shows at least one object well enough to point at."""
        while True:
            photo = self.photos[int(rng.choice(len(self.photos), p=self._photo_weights))]
            whole = (0, 0, photo.size_hw[1], photo.size_hw[0])
            box = self._box(photo, rng)
            instances = [
                found for item in photo.objects if (found := self._instance(item, box)) is not None
            ]
            if instances:
                break
        image = fit_image(read_photo(photo.path)[box[1] : box[3], box[0] : box[2]], self.size_hw)
        captions = self._captions.get(photo.path.name, ()) if box == whole else ()
        image = degrade(relight(image, rng), rng)
        sample = Sample(image, tuple(instances), background_known=False, captions=captions)
        return mirror(sample) if rng.random() < 0.5 else sample

    def whole(self, photo: Photo) -> Sample:
        """The whole photo as it is, all its objects: for evaluation."""
        box = (0, 0, photo.size_hw[1], photo.size_hw[0])
        instances = [i for item in photo.objects if (i := self._instance(item, box)) is not None]
        return Sample(fit_image(read_photo(photo.path), self.size_hw), tuple(instances), False)

    def choose_instance(self, rng: np.random.Generator, instances: tuple[Instance, ...]) -> int:
        """An index, rare categories more often."""
        weights = np.array([self._rarity[CATEGORIES[i.classes["category"]]] for i in instances])
        return int(rng.choice(len(instances), p=weights / weights.sum()))

    @property
    def size_hw(self) -> tuple[int, int]:
        return self._size, self._size

    def _box(self, photo: Photo, rng: np.random.Generator) -> tuple[int, int, int, int]:
        kind = rng.random()
        if kind < self._config.whole_share:
            return 0, 0, photo.size_hw[1], photo.size_hw[0]
        if kind < self._config.whole_share + self._config.close_share:
            return close_box(photo, rng)
        return self._crop(rng, photo.size_hw)

    def _crop(
        self, rng: np.random.Generator, size_hw: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        low = self._config.min_crop
        height, width = (max(8, int(side * rng.uniform(low, 1.0))) for side in size_hw)
        y0 = int(rng.integers(0, size_hw[0] - height + 1))
        x0 = int(rng.integers(0, size_hw[1] - width + 1))
        return x0, y0, x0 + width, y0 + height

    def _instance(self, item: Polygons, box: tuple[int, int, int, int]) -> Instance | None:
        """The object inside ``box``, or None where too little of it shows."""
        x0, y0, x1, y1 = box
        scale = np.array([self._size / (x1 - x0), self._size / (y1 - y0)])
        outlines = [(outline - (x0, y0)) * scale for outline in item.outlines]
        mask = fill(outlines, self.size_hw)
        shown = int(mask.sum())
        whole = item.area_px * scale[0] * scale[1]
        if shown < max(
            self._config.min_area_share * mask.size, self._config.min_kept_share * whole
        ):
            return None
        words = phrase(item.category)
        classes = {"category": CATEGORIES.index(item.category)}
        return Instance(mask, classes, ((None, words), ("what is it?", words)))

    def _read(self, folder: Path) -> list[Photo]:
        document = read_instances(folder)
        names = {category["id"]: category["name"] for category in document["categories"]}
        by_image: dict[int, list[Polygons]] = {}
        for annotation in document["annotations"]:
            item = self._polygons(annotation, names)
            if item is not None:
                by_image.setdefault(annotation["image_id"], []).append(item)
        photos = []
        for image in document["images"]:
            path = folder / "images" / image["file_name"]
            objects = by_image.pop(image["id"], [])
            if not path.exists():
                self.drops["photo_missing"] += 1
            elif not any(
                o.area_px >= self._config.min_area_share * image["width"] * image["height"]
                for o in objects
            ):
                self.drops["photo_without_objects"] += 1
            else:
                photos.append(Photo(path, (image["height"], image["width"]), tuple(objects)))
        self.drops["annotation_without_image"] += sum(map(len, by_image.values()))
        if not photos:
            raise InputError(f"{folder} holds no photo with a usable polygon; check instances.json")
        return photos

    def _polygons(self, annotation: Mapping[str, Any], names: Mapping[int, str]) -> Polygons | None:
        category = names.get(annotation["category_id"], "")
        outlines = annotation["segmentation"]
        if annotation.get("iscrowd") or not isinstance(outlines, list):
            self.drops["annotation_crowd"] += 1
            return None
        if category not in CATEGORIES:
            self.drops["annotation_unknown_category"] += 1
            return None
        shapes = tuple(
            np.array(outline, np.float64).reshape(-1, 2)
            for outline in outlines
            if len(outline) >= 6
        )
        if not shapes:
            self.drops["annotation_without_polygon"] += 1
            return None
        return Polygons(annotation["id"], category, shapes, float(annotation["area"]))


_CLOSEST_PX = 48
_CLOSE_SCALES = (1.2, 4.0)


def close_box(photo: Photo, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a square window, 1.2 to 4 times as large as one object, somewhere round
    it; where the photo is too small for that, of the photo's own shape there."""
    item = photo.objects[int(rng.integers(len(photo.objects)))]
    corners = np.concatenate(item.outlines)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = np.exp(rng.uniform(*np.log(_CLOSE_SCALES)))
    side = max(_CLOSEST_PX, float((high - low).max()) * scale)
    limit = np.array(photo.size_hw[::-1], np.float64)
    extent = np.minimum(side, limit)
    slack = np.maximum(extent - (high - low), 0.0)
    start = np.clip(low - rng.uniform(0.0, 1.0, 2) * slack, 0.0, limit - extent)
    x0, y0 = np.floor(start).astype(int)
    x1, y1 = np.minimum(np.ceil(start + extent), limit).astype(int)
    return int(x0), int(y0), int(x1), int(y1)
