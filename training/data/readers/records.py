"""What every reader gives: one picture or clip, and all that people said, drew and marked on it.

Places are shares of the picture, (x, y) with the origin at its top left corner; those of traces may
lie outside 0..1, as pointers do. Times are integer nanoseconds from the start of the recording.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray, Word
from training.data.readers.pictures import Picture
from training.data.readers.shapes import Shape


class RawTrace(NamedTuple):
    """N readings of a pointer: ``xy`` (N, 2) shares; ``stamp_ns`` (N,) never falls; ``picture``
    (N,) is the index of the picture drawn on; ``pen_up`` (N,) true where the pen was lifted just
    before."""

    xy: FloatArray
    stamp_ns: IntArray
    picture: IntArray
    pen_up: BoolArray

    @property
    def strokes(self) -> int:
        """How many strokes there are."""
        return int(self.pen_up.sum()) + (len(self.xy) > 0)


class Narrative(NamedTuple):
    """What one person said while drawing: one narrative is one reference, found by ``key``."""

    key: str
    text: str
    words: tuple[Word, ...]
    trace: RawTrace


class Region(NamedTuple):
    """One object: ``shapes`` pairs a picture's index with the outline there; ``category`` may be
    empty; ``expressions`` are what people call this object and no other."""

    key: str
    category: str
    shapes: tuple[tuple[int, Shape], ...]
    expressions: tuple[str, ...] = ()


class Phrase(NamedTuple):
    """Characters ``[start, end)`` of a caption, and the regions (indices) that they name."""

    start: int
    end: int
    regions: tuple[int, ...]


class GroundedCaption(NamedTuple):
    """A caption whose phrases are tied to regions (panoptic narrative grounding)."""

    key: str
    text: str
    phrases: tuple[Phrase, ...]


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


class Dialogue(NamedTuple):
    """Turns that build on each other, about ``trace``, or else about ``regions`` (indices; empty:
    the whole picture)."""

    key: str
    turns: tuple[Turn, ...]
    regions: tuple[int, ...]
    trace: RawTrace | None = None


class Record(NamedTuple):
    """One still (one picture) or clip (several, in order) of the data set ``source``."""

    key: str
    source: str
    split: str
    pictures: tuple[Picture, ...]
    captions: tuple[str, ...] = ()
    narratives: tuple[Narrative, ...] = ()
    regions: tuple[Region, ...] = ()
    grounded: tuple[GroundedCaption, ...] = ()
    dialogues: tuple[Dialogue, ...] = ()


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """(x1, y1, x2, y2) in shares about the true pixels of ``mask`` (H, W); None when empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )
