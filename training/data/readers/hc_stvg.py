"""HC-STVG: a sentence about one person of a video, with the box of that person in each frame.

A mapping from video name to ``{caption | English, bbox[[x, y, w, h]], st_frame, img_size}`` where
``bbox`` runs frame by frame from ``st_frame``, in pixels of ``img_size`` (height, width). Version
1 gives ``width`` and ``height`` instead, and has no ``ed_frame``; both are read alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_range
from training.data.readers.pictures import VideoFrame
from training.data.readers.records import Record, Region
from training.data.readers.shapes import Box, Shape
from training.data.readers.source import MALFORMED, Source, find_folder, read_json, require_keys

FORM = "hc-stvg"


class HcStvg:
    """One record a video: ``frames`` frames spread over the tube, ends included.

    ``read`` counts as unusable: missing videos, empty sentences, boxes outside the picture or
    without area, videos without a box left.
    """

    name = FORM

    def __init__(self, source: Source, frames: int = 8) -> None:
        require_range("frames", frames, 1, 1024)
        self.split = source.split
        self.drops = Drops()
        document = require_keys(source.annotations, read_json(source.annotations))
        self._entries = sorted(document.items())
        self._videos = source.images or find_folder(source.annotations.parent, "videos", "video")
        self._frames = frames

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int) -> Record | None:
        name, entry = self._entries[index]
        try:
            return self._record(name, entry)
        except MALFORMED:
            self.drops["annotation_malformed"] += 1
            return None

    def _record(self, name: str, entry: Mapping[str, Any]) -> Record | None:
        text = str(entry.get("caption") or entry.get("English") or "").strip()
        if not text:
            self.drops["narrative_empty"] += 1
            return None
        path = _video(self._videos, name)
        if path is None:
            self.drops["picture_missing"] += 1
            return None
        first, boxes = int(entry["st_frame"]), entry["bbox"]
        count = min(self._frames, len(boxes))
        chosen = np.unique(np.linspace(0, len(boxes) - 1, count).round().astype(int)).tolist()
        size_hw = _size_hw(entry)
        shapes: list[tuple[int, Shape]] = []
        for place, step in enumerate(chosen):
            box = self._box(boxes[step], size_hw)
            if box is not None:
                shapes.append((place, box))
        if not shapes:
            self.drops["video_without_object"] += 1
            return None
        return Record(
            f"{FORM}/{name}",
            FORM,
            self.split,
            tuple(VideoFrame(path, first + step) for step in chosen),
            captions=(text,),
            regions=(Region(f"{FORM}/{name}", "person", tuple(shapes), (text,)),),
        )

    def _box(self, box: list[float], size_hw: tuple[int, int]) -> Box | None:
        """The part of ``box`` inside the picture."""
        x, y, width, height = (float(value) for value in box)
        corners = np.array([x, y, x + width, y + height])
        x1, y1, x2, y2 = np.clip(corners / (*size_hw[::-1], *size_hw[::-1]), 0.0, 1.0).tolist()
        if not (x2 > x1 and y2 > y1):
            self.drops["box_outside_image"] += 1
            return None
        return Box((x1, y1, x2, y2))


def _size_hw(entry: Mapping[str, Any]) -> tuple[int, int]:
    if "img_size" in entry:
        height, width = entry["img_size"]
    else:
        height, width = entry["height"], entry["width"]
    return int(height), int(width)


def _video(folder: Path, name: str) -> Path | None:
    """The file ``name``, in the folder or one of its parts."""
    return next((p for p in (folder / name, *folder.glob(f"*/{Path(name).name}")) if p.is_file()),
                None)  # fmt: skip
