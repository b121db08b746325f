"""The synthetic world as a data set: stills and clips whose every fact is known.

Record ``i`` is a pure function of (seed, i). Objects are described, pointed at with strokes and
gaze, narrated with word times, asked about, and marked in every picture.
"""

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Image, Word
from tracevlm_ros.synthetic.attention import dwell, scribble
from tracevlm_ros.synthetic.clip import Clip, ClipConfig
from tracevlm_ros.synthetic.scene import Scene, SceneConfig, SceneObject, sample_scene
from tracevlm_ros.synthetic.words import attributes_of, describe
from training.data.readers.alignment import Reading, raw_trace
from training.data.readers.pictures import ClipPicture, SceneFrame
from training.data.readers.records import Dialogue, Narrative, Record, Region, Turn
from training.data.readers.shapes import DrawnObject, Shape
from training.data.readers.splits import HELD_OUT, TRAIN

FORM = "synthetic"
_LEAST_PIXELS = 40
_NS_PER_S = 1e9
_HELD_OUT_SEEDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSource:
    """``count`` records from ``seed``, pictures of ``size_hw``; every ``clip_every``-th is a clip
    of ``frames`` frames (0: none). Seeds from 1,000,000 on are held out."""

    count: int = 1000
    seed: int = 0
    size_hw: tuple[int, int] = (256, 256)
    clip_every: int = 0
    frames: int = 4
    training: bool = True

    def __post_init__(self) -> None:
        require_range("count", self.count, 1, 1e9)
        require_range("clip_every", self.clip_every, 0, 1e9)
        require_range("frames", self.frames, 2, 64)
        if self.training and self.seed >= _HELD_OUT_SEEDS:
            raise ConfigError(
                f"seed {self.seed} is held out; train on seeds below {_HELD_OUT_SEEDS}"
            )

    @property
    def split(self) -> str:
        return TRAIN if self.seed < _HELD_OUT_SEEDS else HELD_OUT[0]


class Synthetic:
    """``read`` counts scenes in which no object shows enough to be pointed at."""

    name = FORM

    def __init__(self, source: SyntheticSource) -> None:
        self.split = source.split
        self.drops = Drops()
        self._source = source

    def __len__(self) -> int:
        return self._source.count

    def read(self, index: int) -> Record | None:
        source = self._source
        rng = np.random.default_rng((source.seed, index))
        every = source.clip_every
        if every and index % every == every - 1:
            record = self._clip(index, rng)
        else:
            record = self._still(index, rng)
        if record is None:
            self.drops["picture_without_object"] += 1
        return record

    def _still(self, index: int, rng: np.random.Generator) -> Record | None:
        height, width = self._source.size_hw
        scene = sample_scene(rng, SceneConfig(aspect=width / height))
        picture = SceneFrame(scene, self._source.size_hw)
        drawn = (_Drawn(picture, picture.labels()),)
        return _record(f"{FORM}/{self._source.seed}/{index}", self.split, scene, drawn, rng)

    def _clip(self, index: int, rng: np.random.Generator) -> Record | None:
        height, width = self._source.size_hw
        seed = int(rng.integers(2**31))
        config = ClipConfig(seed=seed, seconds=4.0, height=height, width=width)
        clip = Clip(config)
        chosen = np.linspace(0, clip.config.frame_count - 1, self._source.frames).astype(int)
        drawn = []
        for number in chosen.tolist():
            picture = ClipPicture(config, number)
            drawn.append(_Drawn(picture, clip.frame_at(number).labels))
        key = f"{FORM}/{self._source.seed}/{index}"
        return _record(key, self.split, clip.scene_at(0.0), tuple(drawn), rng)


class _Drawn(NamedTuple):
    """One picture while a record is made: ``labels`` are forgotten afterwards."""

    picture: SceneFrame | ClipPicture
    labels: Image

    def shows(self, label: int) -> bool:
        """Whether enough of the object shows to be pointed at."""
        return int((self.labels == label).sum()) >= _LEAST_PIXELS


def _record(
    key: str, split: str, scene: Scene, drawn: tuple[_Drawn, ...], rng: np.random.Generator
) -> Record | None:
    seen = [
        index for index in range(len(scene.objects)) if any(item.shows(index + 1) for item in drawn)
    ]
    if not seen:
        return None
    said = {index: describe(scene, index, rng, relation=len(drawn) == 1) for index in seen}
    alone = Counter(attributes_of(item) for item in scene.objects)
    regions = tuple(
        _region(key, index, item, drawn, (said[index],) if alone[attributes_of(item)] == 1 else ())
        for index, item in enumerate(scene.objects)
        if index in said
    )
    narratives = tuple(
        _narrative(f"{key}/{index}", said[index], index + 1, drawn, rng) for index in seen
    )
    dialogues = tuple(
        Dialogue(f"{key}/{index}", _questions(scene.objects[index]), (place,))
        for place, index in enumerate(seen)
    )
    caption = " and ".join(said[index] for index in seen[:3])
    pictures = tuple(item.picture for item in drawn)
    return Record(key, FORM, split, pictures, (caption,), narratives, regions, (), dialogues)


def _region(
    key: str,
    index: int,
    item: SceneObject,
    drawn: tuple[_Drawn, ...],
    expressions: tuple[str, ...],
) -> Region:
    """An object; what looks like another one has no expression that tells it from that."""
    shapes: list[tuple[int, Shape]] = [
        (place, DrawnObject(one.picture, index + 1))
        for place, one in enumerate(drawn)
        if one.shows(index + 1)
    ]
    return Region(f"{key}/{index}", item.shape, tuple(shapes), expressions)


def _narrative(
    key: str, text: str, label: int, drawn: tuple[_Drawn, ...], rng: np.random.Generator
) -> Narrative:
    """A stroke or gaze on the object in each picture where it shows, the words said meanwhile."""
    strokes, start_s = [], 0.0
    for place, item in enumerate(drawn):
        if not item.shows(label):
            continue
        act = scribble if rng.random() < 0.7 else dwell
        drawn_xyt = act(item.labels == label, rng)
        height, width = item.labels.shape
        strokes.append(
            [
                Reading(
                    round((start_s + t) * _NS_PER_S), (x + 0.5) / width, (y + 0.5) / height, place
                )
                for x, y, t in drawn_xyt.tolist()
            ]
        )
        start_s += float(drawn_xyt[-1, 2]) + 0.3
    words = text.split()
    bounds = np.linspace(0, max(start_s - 0.3, 0.1), len(words) + 1)
    timed = tuple(
        Word(word, round(start * _NS_PER_S), round(end * _NS_PER_S))
        for word, (start, end) in zip(words, itertools.pairwise(bounds.tolist()), strict=True)
    )
    return Narrative(key, text, timed, raw_trace(strokes, Drops()))


def _questions(item: SceneObject) -> tuple[Turn, ...]:
    return (
        Turn("what shape is it?", item.shape),
        Turn("what colour is it?", item.colour),
        Turn("what texture is it?", item.texture),
        Turn("how big is it?", item.size),
    )
