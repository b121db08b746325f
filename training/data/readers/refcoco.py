"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that tell one object of a COCO image from the others.

A folder holds ``instances.json`` and ``refs(<by>).p`` or ``refs(<by>).json``: a list of ``{ref_id,
ann_id, image_id, split, sentences[{sent}]}``. The .p files are pickles. Unpickling runs whatever
code a file names, so they are read by an unpickler that knows no class and no function at all:
plain lists, mappings, texts and numbers come through, anything else is an error. The JSON form is
preferred where both exist.
"""

import io
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.readers.coco import CocoFile, coco_region, picture_path
from training.data.readers.pictures import PhotoFile
from training.data.readers.records import Record, Region
from training.data.readers.source import Source, expected_form, read_json
from training.data.readers.splits import split_in

FORM = "refcoco"


class RefCoco:
    """One record an image that has expressions of the wanted split (``source.split``).

    The file holds all splits; with ``training`` only expressions marked train are given, and of
    those no image that any file's test split holds (``source.excluded``).
    """

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        folder = source.annotations
        folder = folder if folder.is_dir() else folder.parent
        self._file = CocoFile(folder / "instances.json", self.drops)
        self._images = source.images or folder
        with expected_form(folder / "instances.json", FORM):
            self._by_id = {
                item["id"]: item for found in self._file.annotations.values() for item in found
            }
        self._refs: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for ref in read_refs(refs_file(source.annotations)):
            if split_in(ref["split"]) == source.split:
                self._refs[ref["image_id"]].append(ref)
            else:
                self.drops["expression_of_other_split"] += len(ref["sentences"])
        self._ids = sorted(self._refs)

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, index: int) -> Record | None:
        image_id = self._ids[index]
        if image_id in self._source.excluded:
            self.drops["image_excluded"] += 1
            return None
        image = self._file.images.get(image_id)
        if image is None:
            self.drops["annotation_without_image"] += len(self._refs[image_id])
            return None
        path = picture_path(self._images, image["file_name"])
        if path is None:
            self.drops["picture_missing"] += 1
            return None
        regions = [found for ref in self._refs[image_id] if (found := self._region(ref, image))]
        if not regions:
            self.drops["picture_without_annotation"] += 1
            return None
        return Record(
            f"refcoco/{image_id}", FORM, self.split, (PhotoFile(path),), regions=tuple(regions)
        )

    def _region(self, ref: dict[str, Any], image: dict[str, Any]) -> Region | None:
        annotation = self._by_id.get(ref["ann_id"])
        if annotation is None:
            self.drops["expression_without_annotation"] += 1
            return None
        said = [" ".join(sentence["sent"].split()) for sentence in ref["sentences"]]
        if not any(said):
            self.drops["expression_empty"] += 1
            return None
        expressions = tuple(dict.fromkeys(text for text in said if text))
        return coco_region(annotation, image, self._file.categories, self.drops, expressions)


def refs_file(path: Path) -> Path:
    """``path`` itself, or the one refs file of the folder, JSON before pickle."""
    if path.is_file():
        return path
    found = sorted(path.glob("refs*.json")) or sorted(path.glob("refs*.p"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(f"{path} must hold one refs file, it holds {names}; name the file")
    return found[0]


def read_refs(path: Path) -> list[dict[str, Any]]:
    """The expressions of a refs file. InputError when it is damaged, of another form, or a pickle
    that asks for code."""
    document = unpickle_plain(path) if path.suffix in (".p", ".pkl") else read_json(path)
    if not isinstance(document, list) or not all(map(_is_ref, document)):
        raise InputError(
            f"{path} is no list of ref_id, ann_id, image_id, split and sentences; copy it again"
        )
    return document


def _is_ref(ref: object) -> bool:
    """Whether it has all that is used, each of its type."""
    if not isinstance(ref, dict):
        return False
    numbers = (ref.get(name) for name in ("ref_id", "ann_id", "image_id"))
    sentences = ref.get("sentences")
    return (
        all(isinstance(number, int) for number in numbers)
        and isinstance(ref.get("split"), str)
        and isinstance(sentences, list)
        and all(isinstance(s, dict) and isinstance(s.get("sent"), str) for s in sentences)
    )


def ids_of_test_images(paths: list[Path]) -> frozenset[int]:
    """Image ids of the test splits (test, testA, testB) of all ``paths``: to be excluded from every
    stage of training."""
    return frozenset(
        ref["image_id"]
        for path in paths
        for ref in read_refs(refs_file(path))
        if split_in(ref["split"]) == "test"
    )


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the file asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"the file asks for the outside object {pid!r}")


def unpickle_plain(path: Path) -> Any:
    """Plain data of a pickle. InputError when it names a class or function, or is damaged."""
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, IndexError, KeyError,
            TypeError, AttributeError, OverflowError, MemoryError) as error:  # fmt: skip
        raise InputError(
            f"{path} is not read: {error}; only pickles of plain data are, convert it to JSON"
        ) from error
