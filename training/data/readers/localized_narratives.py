"""Localized Narratives: one JSON object a line, one narrative each (Pont-Tuset et al. 2020).

``dataset_id, image_id, annotator_id, caption, timed_caption[{utterance, start_time, end_time}],
traces[[{x, y, t}]]``. Pictures lie below the image folder as ``image_path`` says, else under
``image_id`` with .jpg or .png; COCO's ids are padded to twelve digits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.types import Word
from training.data.readers.alignment import Reading, raw_trace, words_without_points
from training.data.readers.json_lines import JsonLines
from training.data.readers.pictures import PhotoFile
from training.data.readers.records import Narrative, Record
from training.data.readers.source import MALFORMED, Source
from training.data.readers.splits import TRAIN, split_in

FORM = "localized narratives"
_ENDINGS = (".jpg", ".png", ".jpeg")


class LocalizedNarratives:
    """One record a line. ``read`` counts as unusable: lines that are no narrative, narratives
    without text, without a trace, without their picture, of an excluded image, or (in training)
    of a held-out ``dataset_id`` in a file of the training split."""

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        self._lines = JsonLines(source.annotations)
        self._images = source.images or source.annotations.parent

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, index: int) -> Record | None:
        line = self._lines[index]
        try:
            return self._record(index, line or {})
        except MALFORMED:
            self.drops["narrative_malformed"] += 1
            return None

    def _record(self, index: int, line: Mapping[str, Any]) -> Record | None:
        dataset, image = str(line["dataset_id"]), str(line["image_id"])
        if self._source.training and split_in(dataset) not in ("", TRAIN):
            self.drops["narrative_held_out"] += 1
            return None
        if is_coco(dataset) and image.isdigit() and int(image) in self._source.excluded:
            self.drops["image_excluded"] += 1
            return None
        narrative = read_narrative(f"{dataset}/{image}/{index}", line, self.drops)
        if narrative is None:
            return None
        path = self._picture(line.get("image_path"), dataset, image)
        if path is None:
            self.drops["picture_missing"] += 1
            return None
        return Record(narrative.key, FORM, self.split, (PhotoFile(path),), narratives=(narrative,))

    def _picture(self, stated: object, dataset: str, image: str) -> Path | None:
        names = [str(stated)] if stated else []
        padded = image.zfill(12) if is_coco(dataset) and image.isdigit() else image
        names += [f"{padded}{ending}" for ending in _ENDINGS]
        found = (self._images / name for name in names)
        return next((path for path in found if path.is_file()), None)


def is_coco(dataset_id: str) -> bool:
    """Whether the narrative is of a COCO image (``mscoco_train2017``)."""
    return "coco" in dataset_id.lower()


def read_narrative(key: str, line: Mapping[str, Any], drops: Drops) -> Narrative | None:
    """The narrative of one line; None, counted, when it has no text or no trace.

    Raises KeyError, TypeError or ValueError for a line of another form.
    """
    text = str(line["caption"]).strip()
    words = tuple(
        Word(str(word["utterance"]), _ns(word["start_time"]), _ns(word["end_time"]))
        for word in line["timed_caption"]
    )
    strokes = [
        [Reading(_ns(point["t"]), float(point["x"]), float(point["y"]), 0) for point in stroke]
        for stroke in line["traces"]
    ]
    return finished(Narrative(key, text, words, raw_trace(strokes, drops)), drops)


def finished(narrative: Narrative, drops: Drops) -> Narrative | None:
    """``narrative`` if it can be learned from; words without points are counted, not lost: they
    stay in the text, but own no segment."""
    if not narrative.text:
        drops["narrative_empty"] += 1
        return None
    if not len(narrative.trace.xy):
        drops["narrative_without_trace"] += 1
        return None
    if not narrative.words:
        drops["narrative_without_word_times"] += 1
    drops["word_without_points"] += len(words_without_points(narrative))
    return narrative


def _ns(seconds: float) -> int:
    return round(float(seconds) * 1_000_000_000)
