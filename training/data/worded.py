"""Texts about the objects of a picture, and which of its pixels each text describes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray
from tracevlm_ros.synthetic import vocabulary
from training.data.categories import CATEGORIES, phrase
from training.data.sample import Instance, Sample

_WHOLE_SHARE = 0.5
_ABSENT_SHARE = 0.2
_WORDS: dict[str, tuple[str, ...]] = {
    "size": vocabulary.SIZES,
    "texture": vocabulary.TEXTURES,
    "colour": vocabulary.COLOURS,
    "shape": ("", *vocabulary.SHAPES),
}
"""In the order in which a description says them; shapes count from 1."""


class Worded(NamedTuple):
    """``mask`` bool (S, S): all that ``text`` describes in picture ``image``; maybe nothing."""

    image: int
    text: str
    mask: BoolArray


class _Asked(NamedTuple):
    """Label groups and classes that an object must have."""

    text: str
    classes: dict[str, int]

    def describes(self, item: Instance) -> bool:
        return all(item.classes.get(group) == value for group, value in self.classes.items())


def word_samples(samples: list[Sample], texts: int, rng: np.random.Generator) -> list[Worded]:
    """``texts`` texts a picture: about its objects by some or all that is known of them, and some
    that describe nothing in it."""
    found = []
    for image, sample in enumerate(samples):
        for _ in range(texts):
            source = sample
            if rng.random() < _ABSENT_SHARE:
                source = samples[int(rng.integers(len(samples)))]
            item = source.instances[int(rng.integers(len(source.instances)))]
            asked = _ask_for(item, rng)
            mask = np.zeros(sample.image_rgb.shape[:2], np.bool_)
            for other in sample.instances:
                if asked.describes(other):
                    mask |= other.mask
            found.append(Worded(image, asked.text, mask))
    return found


def _ask_for(item: Instance, rng: np.random.Generator) -> _Asked:
    if "category" in item.classes:
        category = item.classes["category"]
        said = CATEGORIES[category] if rng.random() < 0.3 else phrase(CATEGORIES[category])
        return _Asked(said, {"category": category})
    groups = list(_WORDS)
    if rng.random() >= _WHOLE_SHARE:
        kept = rng.random(len(groups)) < 0.5
        kept[int(rng.integers(len(groups)))] = True
        groups = [group for group, keep in zip(groups, kept, strict=True) if keep]
    words = [_WORDS[group][item.classes[group]] for group in groups]
    if "shape" not in groups:
        words.append("thing")
    article = ("a", "the", "")[int(rng.integers(3))] if len(groups) < len(_WORDS) else "a"
    return _Asked(f"{article} {' '.join(words)}".strip(), {g: item.classes[g] for g in groups})


def token_rows(rows: list[list[int]], most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (T, most), 0 behind the end, and which of them count (T, most); longer ones are cut."""
    ids, valid = np.zeros((len(rows), most), np.int64), np.zeros((len(rows), most), np.float32)
    for row, tokens in enumerate(rows):
        kept = tokens[:most]
        ids[row, : len(kept)], valid[row, : len(kept)] = kept, 1.0
    return ids, valid
