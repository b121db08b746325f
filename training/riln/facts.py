"""Stage 1: what a trace is about. Keypoints, phrases tied to them, the regions that it touches."""

from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.answers import Box
from training.data.phrases import said_and_drawn
from training.data.readers.alignment import SimplifyConfig, keypoints_of
from training.data.readers.records import Narrative, Record, Region, box_of

_SIDE = 128
_TOUCHED_SHARE = 0.1
_MAX_KEYPOINTS = 64
_ATTRIBUTE_QUESTIONS = {
    "what shape is it?": "shape",
    "what colour is it?": "colour",
    "what texture is it?": "texture",
    "how big is it?": "size",
}


class Thing(NamedTuple):
    """Something in the first picture: ``name``, known ``attributes``, ``box`` in shares."""

    name: str
    attributes: dict[str, str]
    box: Box


class Facts(NamedTuple):
    """What is known of one trace: the ``caption`` said with it, ``phrases`` with the middle of what
    was drawn meanwhile, the things ``traced`` in its order, and the ``others``."""

    key: str
    caption: str
    phrases: tuple[tuple[str, tuple[float, float]], ...]
    traced: tuple[Thing, ...]
    others: tuple[Thing, ...]


def facts_of(record: Record, narrative: Narrative) -> Facts | None:
    """None where the trace is not on the first picture, or there is nothing that it is about."""
    trace = narrative.trace
    here = trace.picture == 0
    if not here.any():
        return None
    traced: list[tuple[int, Thing]] = []
    others: list[Thing] = []
    for region in record.regions:
        found = _thing(record, region)
        if found is None:
            continue
        thing, mask = found
        cells = np.floor(trace.xy[here] * _SIDE).astype(np.int64)
        within = ((cells >= 0) & (cells < _SIDE)).all(axis=1)
        column, row = np.clip(cells, 0, _SIDE - 1).T
        inside = within & mask[row, column]
        if inside.mean() >= _TOUCHED_SHARE:
            traced.append((int(np.argmax(inside)), thing))
        else:
            others.append(thing)
    keypoints = keypoints_of(narrative, (_SIDE, _SIDE), SimplifyConfig())
    phrases = tuple(
        (part.text, _middle(part.points))
        for _, part in said_and_drawn(narrative, keypoints, _MAX_KEYPOINTS)
    )
    if not traced and not phrases:
        return None
    in_order = tuple(thing for _, thing in sorted(traced, key=lambda pair: pair[0]))
    return Facts(narrative.key, narrative.text, phrases, in_order, tuple(others))


def _thing(record: Record, region: Region) -> tuple[Thing, np.ndarray] | None:
    shapes = [shape for picture, shape in region.shapes if picture == 0]
    mask = np.zeros((_SIDE, _SIDE), np.bool_)
    for shape in shapes:
        mask |= shape.mask((_SIDE, _SIDE))
    box = box_of(mask)
    attributes = _attributes(record, region)
    words = [attributes.get(name, "") for name in ("size", "texture", "colour")]
    name = " ".join(word for word in (*words, region.category) if word)
    if not name:
        name = next(iter(region.expressions), "")
    return None if box is None or not name else (Thing(name, attributes, box), mask)


def _attributes(record: Record, region: Region) -> dict[str, str]:
    """Those that the record's own dialogue about this region tells."""
    number = record.regions.index(region)
    return {
        _ATTRIBUTE_QUESTIONS[turn.question]: turn.answer
        for dialogue in record.dialogues
        if dialogue.regions == (number,)
        for turn in dialogue.turns
        if turn.question in _ATTRIBUTE_QUESTIONS
    }


def _middle(points: np.ndarray) -> tuple[float, float]:
    x, y = points.mean(axis=0)
    return float(x), float(y)
