"""Photos with captions in COCO form, for what is said of a whole picture."""

from pathlib import Path

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.preprocess import fit_image
from training.data.augment import degrade, mirror, relight
from training.data.photos_on_disk import read_photo, refuse_held_out
from training.data.readers.coco import CocoFile
from training.data.sample import Sample


class CaptionedPhotos:
    """``captions.json`` of ``folder``; pictures lie in its ``images``, or in what the folder lies
    in, as their names say.

    Pictures that are missing and empty captions are counted in ``drops``. InputError when the file
    cannot be read or no picture is left, ConfigError for a held-out (``*_dev``) folder.
    """

    def __init__(self, folder: Path, image_size: int) -> None:
        refuse_held_out(folder)
        file = folder / "captions.json"
        self.drops = Drops()
        self._size = image_size
        found = CocoFile(file, self.drops)
        self.by_name: dict[str, tuple[str, ...]] = {}
        self._paths: list[tuple[Path, tuple[str, ...]]] = []
        for image_id, image in sorted(found.images.items()):
            texts = [str(a.get("caption", "")).strip() for a in found.annotations[image_id]]
            captions = tuple(text for text in texts if text)
            self.drops["caption_empty"] += len(texts) - len(captions)
            path = _picture(folder, image["file_name"])
            if not captions or path is None:
                self.drops["photo_missing"] += path is None
                continue
            self.by_name[path.name] = captions
            self._paths.append((path, captions))
        if not self._paths:
            raise InputError(f"{file} names no picture that is there; give captions with pictures")

    def sample(self, rng: np.random.Generator) -> Sample:
        """A whole photo with its captions and no objects."""
        path, captions = self._paths[int(rng.integers(len(self._paths)))]
        image = fit_image(read_photo(path), (self._size, self._size))
        sample = Sample(degrade(relight(image, rng), rng), (), False, captions)
        return mirror(sample) if rng.random() < 0.5 else sample


def _picture(folder: Path, name: str) -> Path | None:
    places = (folder / "images" / name, folder.parent / name)
    return next((place for place in places if place.is_file()), None)
