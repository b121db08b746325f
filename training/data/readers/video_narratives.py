"""Video Localized Narratives: one video a line, a narrative for each actor (Voigtlaender 2023).

``video_id, keyframe_names[], actor_narratives[{actor_name, caption, traces[[{x, y, kf_idx,
time_ms_since_epoch}]], time_alignment[{referenced_word, start_ms, end_ms}],
recording_start_time_ms_since_epoch}]``. Keyframes lie in ``frames/<dataset_id>/<video_id>/``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Word
from training.data.readers.alignment import Reading, raw_trace
from training.data.readers.json_lines import JsonLines
from training.data.readers.localized_narratives import finished
from training.data.readers.pictures import PhotoFile, Picture
from training.data.readers.records import Narrative, Record
from training.data.readers.source import MALFORMED, Source, find_folder
from training.data.readers.splits import TRAIN, split_in

FORM = "video localized narratives"
_NS_PER_MS = 1_000_000


class VideoNarratives:
    """One record a video; its pictures are the keyframes that are there. Points on a keyframe that
    is missing are left out and counted, so are actors without text or trace."""

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        self._lines = JsonLines(source.annotations)
        self._frames = source.images or find_folder(source.annotations.parent, "frames")

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, index: int) -> Record | None:
        line = self._lines[index]
        try:
            return self._record(line or {})
        except MALFORMED:
            self.drops["narrative_malformed"] += 1
            return None

    def _record(self, line: Mapping[str, Any]) -> Record | None:
        dataset, video = str(line["dataset_id"]), str(line["video_id"])
        if self._source.training and split_in(dataset) not in ("", TRAIN):
            self.drops["narrative_held_out"] += 1
            return None
        pictures, place = self._keyframes(self._frames / dataset / video, line["keyframe_names"])
        if not pictures:
            self.drops["picture_missing"] += 1
            return None
        key = f"{dataset}/{video}/{line.get('vidln_id', 0)}"
        narratives = [
            found
            for number, actor in enumerate(line["actor_narratives"])
            if (found := _narrative(f"{key}/{number}", actor, place, self.drops)) is not None
        ]
        if not narratives:
            return None
        return Record(key, FORM, self.split, pictures, narratives=tuple(narratives))

    def _keyframes(
        self, folder: Path, names: list[str]
    ) -> tuple[tuple[Picture, ...], dict[int, int]]:
        """The keyframes that exist, and which of them each keyframe index means."""
        pictures: list[Picture] = []
        place: dict[int, int] = {}
        for index, name in enumerate(names):
            found = [folder / f"{name}{ending}" for ending in (".jpg", ".png")]
            path = next((path for path in found if path.is_file()), None)
            if path is None:
                self.drops["keyframe_missing"] += 1
                continue
            place[index] = len(pictures)
            pictures.append(PhotoFile(path))
        return tuple(pictures), place


def _narrative(
    key: str, actor: Mapping[str, Any], place: Mapping[int, int], drops: Drops
) -> Narrative | None:
    start_ms = int(actor["recording_start_time_ms_since_epoch"])
    strokes = []
    for stroke in actor["traces"]:
        readings = [
            Reading(
                (int(point["time_ms_since_epoch"]) - start_ms) * _NS_PER_MS,
                float(point["x"]),
                float(point["y"]),
                place.get(int(point["kf_idx"]), -1),
            )
            for point in stroke
        ]
        shown = [reading for reading in readings if reading.picture >= 0]
        drops["point_without_picture"] += len(readings) - len(shown)
        strokes.append(shown)
    words = tuple(
        Word(
            str(word["referenced_word"]),
            int(word["start_ms"]) * _NS_PER_MS,
            int(word["end_ms"]) * _NS_PER_MS,
        )
        for word in actor["time_alignment"]
    )
    text = str(actor["caption"]).strip()
    return finished(Narrative(key, text, words, raw_trace(strokes, drops)), drops)


def pictures_drawn_on(narrative: Narrative) -> tuple[int, ...]:
    """Indices of the record's pictures that the trace touches, ascending."""
    return tuple(np.unique(narrative.trace.picture).tolist())
