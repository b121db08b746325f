"""Which frames and traces stand for all: a small set that covers what the recordings hold.

The first N frames of a bag show one room; a random N mostly show what is frequent. Ranges of an
integer engine are set by what is rare too, so the set is picked by coverage: greedy k-centre
(Gonzalez 1985), whose largest distance from any candidate to the set is at most twice the best
possible. Everything follows from the candidates and their order: no random state.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import FloatArray, Image, IntArray

_GRID = 8
_FINE = 64
_NOISE = 0.02
"""Features that vary less than this are not blown up: two per cent of grey is sensor noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One frame at the model's size, uint8 (H, W, 3), one trace on it, and where it is from."""

    image_rgb: Image
    prompt: TracePrompt
    source: str
    stamp_ns: int
    trace_id: int


class Choice(NamedTuple):
    """``indices`` of the chosen in the order of choosing; ``radius``: how far, in units of the
    features, the farthest candidate is from its nearest chosen one."""

    indices: tuple[int, ...]
    radius: float


def image_features(image_rgb: Image) -> FloatArray:
    """(8 * 8 * 4,) of an image: mean colour and mean detail (gradient) of each cell, in 0..1."""
    small = cv2.resize(image_rgb, (_FINE, _FINE), interpolation=cv2.INTER_AREA)
    values = np.asarray(small, dtype=np.float64) / 255
    grey = values.mean(axis=2)
    down, right = np.gradient(grey)
    detail = np.hypot(down, right)[:, :, None]
    cells = np.concatenate([values, detail], axis=2)
    side = _FINE // _GRID
    return np.asarray(cells.reshape(_GRID, side, _GRID, side, 4).mean(axis=(1, 3)).ravel())


def trace_features(prompt: TracePrompt) -> FloatArray:
    """(9,) of a trace: middle, spread, number of points, length, duration, pen-ups, one point."""
    points = prompt.points
    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return np.array(
        [
            *points.mean(axis=0),
            *points.std(axis=0),
            np.log1p(len(points)),
            np.log1p(length),
            np.log1p(float(prompt.dt_s.sum())),
            float(np.count_nonzero(prompt.pen_up)),
            float(len(points) == 1),
        ]
    )


def features_of(candidates: list[Candidate]) -> FloatArray:
    """(N, D): picture and trace count alike, and so do the features of each."""
    images = np.array([image_features(item.image_rgb) for item in candidates])
    traces = np.array([trace_features(item.prompt) for item in candidates])
    return np.concatenate([_standardised(images), _standardised(traces)], axis=1)


def _standardised(values: FloatArray) -> FloatArray:
    """Columns of about unit variance, divided by the root of their number."""
    centred = values - values.mean(axis=0)
    scaled = centred / np.maximum(values.std(axis=0), _NOISE)
    return np.asarray(scaled / np.sqrt(values.shape[1]))


def choose(features: FloatArray, count: int) -> Choice:
    """Greedy k-centre over ``features`` (N, D), N >= 1: at most ``count``, no doubles.

    Begins with the candidate nearest to the mean; among equals the first wins. Stops early once
    every candidate equals a chosen one.
    """
    middle = features.mean(axis=0)
    chosen = [int(np.argmin(np.linalg.norm(features - middle, axis=1)))]
    distance = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < count and distance.max() > 1e-9:
        chosen.append(int(np.argmax(distance)))
        nearer = np.linalg.norm(features - features[chosen[-1]], axis=1)
        distance = np.minimum(distance, nearer)
    return Choice(tuple(chosen), float(distance.max()))


class CandidatePool:
    """Candidates of any number of recordings in bounded memory.

    When ``limit`` is reached, the pool is thinned to half of it by the same rule as the final
    choice; ``seen`` counts all that were ever added.
    """

    def __init__(self, limit: int) -> None:
        assert limit >= 2, "half of the pool must be something"
        self._limit = limit
        self.candidates: list[Candidate] = []
        self.seen = 0

    def add(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)
        self.seen += 1
        if len(self.candidates) >= self._limit:
            kept: IntArray = np.sort(choose(features_of(self.candidates), self._limit // 2).indices)
            self.candidates = [self.candidates[index] for index in kept]
