"""Localized Narratives and Video Localized Narratives as recordings of still pictures.

A narrative of a video becomes one recording for each keyframe that was drawn on, with the strokes
on that keyframe and the whole caption as reference.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.types import FloatArray, GazeSample, Word
from tracevlm_ros.evaluation.adapters.case import START_NS, Case, play_still
from tracevlm_ros.evaluation.adapters.coco_instances import still_truth
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.ingest.localized_narratives import (
    Narrative,
    find_picture,
    pointer_samples,
    read_narratives,
)


class DrawnPicture(NamedTuple):
    """A narrative whose strokes lie on one ``image``; ``name`` is unique in its file."""

    name: str
    image: Path
    narrative: Narrative


def read_drawn_pictures(narratives: Path, images: Path) -> list[DrawnPicture]:
    """Every narrative with a stroke; pictures are ``images/[data set/]<image id>.jpg``.

    Raises InputError when a picture is missing.
    """
    found = []
    for number, narrative in enumerate(read_narratives(narratives)):
        for media, part in _stills(narrative):
            if part.strokes:
                name = f"{number:05d}_{media.replace('/', '_')}"
                found.append(
                    DrawnPicture(name, find_picture(images, narrative.dataset_id, media), part)
                )
    return found


def narrative_cases(narratives: Path, images: Path) -> Iterator[Case]:
    """Each drawn picture as a recording; its caption is the reference, words do not enter."""
    for item in read_drawn_pictures(narratives, images):
        size_hw = read_rgb(item.image).shape[:2]
        pen = timed_pen(item.narrative, (size_hw[0], size_hw[1]))
        yield Case(
            item.name,
            partial(play_still, item.image, pen),
            still_truth(pen, None, (item.narrative.caption,)),
        )


def timed_pen(narrative: Narrative, size_hw: tuple[int, int]) -> list[GazeSample]:
    """The strokes as pen readings, moved so that the first is at START_NS."""
    pen = sorted(pointer_samples(narrative, size_hw), key=lambda sample: sample.stamp_ns)
    shift_ns = START_NS - pen[0].stamp_ns
    return [sample._replace(stamp_ns=sample.stamp_ns + shift_ns) for sample in pen]


def timed_words(narrative: Narrative, size_hw: tuple[int, int]) -> list[Word]:
    """The words on the clock of ``timed_pen``; those that ended before it are left out."""
    first_ns = min(sample.stamp_ns for sample in pointer_samples(narrative, size_hw))
    shift_ns = START_NS - first_ns
    moved = [
        word._replace(start_ns=word.start_ns + shift_ns, end_ns=word.end_ns + shift_ns)
        for word in narrative.words
    ]
    return [word for word in moved if word.end_ns > 0]


def word_boxes(narrative: Narrative) -> FloatArray:
    """Box (x0, y0, x1, y1) in 0..1 of the points drawn during each word that has any: (N, 4).

    A word reaches to the start of the next one, the last one to its own end.
    """
    points = [point for stroke in narrative.strokes for point in stroke]
    times = np.array([point.time_ns for point in points], dtype=np.int64)
    places = np.clip(np.array([(p.x, p.y) for p in points], dtype=np.float64), 0.0, 1.0)
    words = narrative.words
    boxes = []
    for index, word in enumerate(words):
        end_ns = words[index + 1].start_ns if index + 1 < len(words) else word.end_ns + 1
        mine = places[(times >= word.start_ns) & (times < end_ns)]
        if len(mine):
            boxes.append([*mine.min(axis=0), *mine.max(axis=0)])
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _stills(narrative: Narrative) -> Iterator[tuple[str, Narrative]]:
    if not narrative.keyframes:
        yield narrative.media_id, narrative
        return
    for index, keyframe in enumerate(narrative.keyframes):
        strokes = tuple(s for s in narrative.strokes if s[0].keyframe == index)
        yield f"{narrative.media_id}/{keyframe}", narrative._replace(strokes=strokes)
