"""Videos with a mask of each object in each frame, as DAVIS lays them out (Perazzi et al. 2016).

``JPEGImages/<video>/*.jpg`` and ``Annotations/<video>/*.png``, both maybe below a folder of the
resolution (``480p``). Label 0 is background, every other value one object (255 in DAVIS-2016).
``ImageSets/**/<split>.txt`` names the videos of a split; without it the folder is one split.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.readers.pictures import PhotoFile
from training.data.readers.records import Record, Region
from training.data.readers.shapes import LabelFile, Shape, read_labels
from training.data.readers.source import Source

FORM = "davis"
_VOID = 255


class Davis:
    """One record a video: its frames that have both picture and labels.

    An object is known from the first frame in which it shows. ``read`` counts as unusable: frames
    without labels, damaged label images, videos without any object.
    """

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        root = source.annotations
        self._pictures = _below_resolution(root / "JPEGImages")
        self._labels = _below_resolution(root / "Annotations")
        chosen = _image_set(root, source.split)
        self._videos = [
            name
            for name in sorted(path.name for path in self._pictures.iterdir() if path.is_dir())
            if chosen is None or name in chosen
        ]

    def __len__(self) -> int:
        return len(self._videos)

    def read(self, index: int) -> Record | None:
        video = self._videos[index]
        frames = list(self._frames(video))
        objects: dict[int, list[tuple[int, Shape]]] = {}
        pictures: list[PhotoFile] = []
        for picture, label_file in frames:
            try:
                values = np.unique(read_labels(label_file)).tolist()
            except InputError:
                self.drops["labels_damaged"] += 1
                continue
            for label in _objects(values):
                objects.setdefault(label, []).append((len(pictures), LabelFile(label_file, label)))
            pictures.append(PhotoFile(picture))
        if not objects:
            self.drops["video_without_object"] += 1
            return None
        regions = tuple(
            Region(f"{FORM}/{video}/{label}", "", tuple(shapes))
            for label, shapes in sorted(objects.items())
        )
        return Record(f"{FORM}/{video}", FORM, self.split, tuple(pictures), regions=regions)

    def _frames(self, video: str) -> Iterator[tuple[Path, Path]]:
        for picture in sorted((self._pictures / video).glob("*.jpg")):
            label_file = self._labels / video / f"{picture.stem}.png"
            if label_file.is_file():
                yield picture, label_file
            else:
                self.drops["frame_without_labels"] += 1


def _objects(values: list[int]) -> list[int]:
    """Labels of objects: 255 means "void" beside other labels, and the object when alone."""
    labels = [value for value in values if value != 0]
    return labels if len(labels) < 2 else [value for value in labels if value != _VOID]


def _below_resolution(folder: Path) -> Path:
    """``folder``, or the one folder in it that is named after a resolution."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds JPEGImages, Annotations")
    found = [path for path in sorted(folder.iterdir()) if path.name in ("480p", "Full-Resolution")]
    return found[0] if found else folder


def _image_set(root: Path, split: str) -> set[str] | None:
    """Names in ``ImageSets/**/<split>.txt``; None without such a folder."""
    folder = root / "ImageSets"
    if not folder.is_dir():
        return None
    found = sorted(folder.rglob(f"{split}.txt"))
    if not found:
        raise InputError(f"{folder} holds no {split}.txt; choose a split that it names")
    names = (line.split() for line in found[0].read_text(encoding="utf-8").splitlines())
    return {Path(parts[0]).parent.name or Path(parts[0]).stem for parts in names if parts}
