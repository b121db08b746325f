"""Panoptic Narrative Grounding: captions whose phrases name segments of COCO panoptic images.

A list of ``{caption, image_id, segments[{utterance, noun, segment_ids}]}`` (``png_coco_*.json``)
beside ``panoptic_*.json`` of COCO and the folder of the same name with label images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.readers.coco import picture_path
from training.data.readers.pictures import PhotoFile
from training.data.readers.records import GroundedCaption, Phrase, Record, Region
from training.data.readers.shapes import LabelFile
from training.data.readers.source import MALFORMED, Source, expected_form, read_json, require_keys

FORM = "panoptic narrative grounding"


class PanopticGrounding:
    """One record a caption. ``read`` counts as unusable: excluded images, images that are not in
    the panoptic file, missing pictures or label images, captions without a grounded phrase."""

    name = FORM

    def __init__(self, source: Source) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source
        self._captions = read_json(source.annotations)
        if not isinstance(self._captions, list):
            raise InputError(f"{source.annotations} holds no list of captions; copy it again")
        self._panoptic = panoptic_file(source.annotations)
        document = require_keys(
            self._panoptic, read_json(self._panoptic), "annotations", "categories", "images"
        )
        with expected_form(self._panoptic, "COCO panoptic"):
            self._names = {item["id"]: str(item["name"]) for item in document["categories"]}
            self._files = {int(item["id"]): str(item["file_name"]) for item in document["images"]}
            self._labels = {int(item["image_id"]): item for item in document["annotations"]}
        self._images = source.images or source.annotations.parent

    def __len__(self) -> int:
        return len(self._captions)

    def read(self, index: int) -> Record | None:
        try:
            return self._record(index, self._captions[index])
        except MALFORMED:
            self.drops["narrative_malformed"] += 1
            return None

    def _record(self, index: int, caption: Mapping[str, Any]) -> Record | None:
        image_id = int(caption["image_id"])
        if image_id in self._source.excluded:
            self.drops["image_excluded"] += 1
            return None
        labels = self._labels.get(image_id)
        if labels is None or image_id not in self._files:
            self.drops["annotation_without_image"] += 1
            return None
        picture = picture_path(self._images, self._files[image_id])
        label_file = self._panoptic.with_suffix("") / str(labels["file_name"])
        if picture is None or not label_file.is_file():
            self.drops["picture_missing"] += 1
            return None
        regions = self._regions(labels, label_file)
        grounded = self._grounded(f"png/{image_id}/{index}", caption, labels)
        if grounded is None:
            return None
        return Record(
            grounded.key,
            FORM,
            self.split,
            (PhotoFile(picture),),
            regions=regions,
            grounded=(grounded,),
        )

    def _regions(self, labels: Mapping[str, Any], path: Path) -> tuple[Region, ...]:
        return tuple(
            Region(
                f"panoptic/{segment['id']}",
                self._names.get(segment["category_id"], ""),
                ((0, LabelFile(path, int(segment["id"]))),),
            )
            for segment in labels["segments_info"]
        )

    def _grounded(
        self, key: str, caption: Mapping[str, Any], labels: Mapping[str, Any]
    ) -> GroundedCaption | None:
        """Phrases are looked for from left to right; those not found, or that name a segment that
        the label image does not have, are counted."""
        text = str(caption["caption"]).strip()
        place = {str(segment["id"]): i for i, segment in enumerate(labels["segments_info"])}
        phrases, after = [], 0
        for segment in caption["segments"]:
            utterance = str(segment["utterance"]).strip()
            start = text.lower().find(utterance.lower(), after)
            if start < 0:
                self.drops["phrase_not_in_caption"] += 1
                continue
            after = start + len(utterance)
            named = [str(number) for number in segment["segment_ids"]]
            known = tuple(place[number] for number in named if number in place)
            self.drops["phrase_without_segment"] += len(named) - len(known)
            if known and segment.get("noun", True):
                phrases.append(Phrase(start, after, known))
        if not text or not phrases:
            self.drops["narrative_empty" if not text else "narrative_without_phrase"] += 1
            return None
        return GroundedCaption(key, text, tuple(phrases))


def panoptic_file(annotations: Path) -> Path:
    """The panoptic file beside ``annotations``; InputError unless there is exactly one."""
    found = sorted(annotations.parent.glob("panoptic_*.json"))
    if len(found) > 1:
        ending = annotations.stem.rsplit("_", 1)[-1]
        found = [path for path in found if path.stem.endswith(ending)]
    if len(found) != 1:
        raise InputError(
            f"{annotations.parent} holds {len(found)} fitting panoptic_*.json; it must hold the "
            "one of the same split as the captions"
        )
    return found[0]
