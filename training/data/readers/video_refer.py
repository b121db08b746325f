"""VideoRefer: dialogues about marked objects of a video.

A list of ``{video | image, conversations[{from: human|gpt, value}], annotation[{"<frame>":
{segmentation}}]}``: one mapping an object, keyed by frame number, polygons or run lengths as in
COCO. ``<video>`` and ``<image>`` in the text stand for what is shown, ``<object0><region>`` for a
marked object: one alone is "it", several are "object 0", "object 1".
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.readers.pictures import PhotoFile, Picture, VideoFrame
from training.data.readers.records import Dialogue, Record, Region, Turn
from training.data.readers.shapes import Outlines, RunLengths, Shape, read_segmentation
from training.data.readers.source import MALFORMED, Source, find_folder, read_json

FORM = "videorefer"
_SHOWN = re.compile(r"<(?:video|image)>\s*")
_MARK = re.compile(r"<object(\d+)>(?:\s*<region>)?|<region>")


class VideoRefer:
    """One record an entry; its pictures are the frames in which an object is marked (or the first
    frame). Polygons need the picture's size, so that picture is decoded then.

    ``read`` counts as unusable: missing or damaged pictures, entries without a question and an
    answer, objects without a usable outline.
    """

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._entries = read_json(source.annotations)
        if not isinstance(self._entries, list):
            raise InputError(f"{source.annotations} holds no list of entries; copy it again")
        self._root = source.images or find_folder(source.annotations.parent, "media")

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int) -> Record | None:
        try:
            return self._record(index, self._entries[index])
        except InputError:
            self.drops["picture_damaged"] += 1
        except MALFORMED:
            self.drops["annotation_malformed"] += 1
        return None

    def _record(self, index: int, entry: Mapping[str, Any]) -> Record | None:
        marked = entry.get("annotation") or []
        turns = _turns(entry["conversations"], len(marked))
        if not turns:
            self.drops["dialogue_empty"] += 1
            return None
        is_video = "video" in entry
        path = self._root / str(entry["video" if is_video else "image"])
        if not path.is_file():
            self.drops["picture_missing"] += 1
            return None
        numbers = sorted({int(frame) for item in marked for frame in item}) or [0]
        pictures = _pictures(path, numbers, is_video)
        key = f"{FORM}/{entry.get('id', index)}"
        regions = []
        for number, item in enumerate(marked):
            region = self._region(f"{key}/{number}", item, numbers, pictures)
            if region is None:
                self.drops["dialogue_without_region"] += 1
                return None
            regions.append(region)
        dialogue = Dialogue(key, turns, tuple(range(len(regions))))
        return Record(
            key, FORM, self.split, pictures, regions=tuple(regions), dialogues=(dialogue,)
        )

    def _region(
        self,
        key: str,
        item: Mapping[str, Any],
        numbers: list[int],
        pictures: tuple[Picture, ...],
    ) -> Region | None:
        shapes: list[tuple[int, Shape]] = []
        for frame, marked in sorted(item.items(), key=lambda pair: int(pair[0])):
            place = numbers.index(int(frame)) if len(pictures) > 1 else 0
            shape = self._shape(marked["segmentation"], pictures[place])
            if shape is not None:
                shapes.append((place, shape))
        return Region(key, "", tuple(shapes)) if shapes else None

    def _shape(self, segmentation: object, picture: Picture) -> Outlines | RunLengths | None:
        if isinstance(segmentation, Mapping):
            return read_segmentation(segmentation, (0, 0), self.drops)
        height, width = picture.load().shape[:2]
        return read_segmentation(segmentation, (height, width), self.drops)


def _pictures(path: Path, numbers: list[int], is_video: bool) -> tuple[Picture, ...]:
    if is_video:
        return tuple(VideoFrame(path, number) for number in numbers)
    return (PhotoFile(path),)


def _turns(conversations: Sequence[Mapping[str, Any]], marked: int) -> tuple[Turn, ...]:
    """Each human text with the answer right after it."""
    found = []
    for one, two in pairwise(conversations):
        if one["from"] == "human" and two["from"] == "gpt":
            question, answer = (_plain(str(part["value"]), marked) for part in (one, two))
            if question and answer:
                found.append(Turn(question, answer))
    return tuple(found)


def _plain(text: str, marked: int) -> str:
    def name(mark: re.Match[str]) -> str:
        return "it" if marked <= 1 or mark.group(1) is None else f"object {mark.group(1)}"

    return _MARK.sub(name, _SHOWN.sub("", text)).strip()
