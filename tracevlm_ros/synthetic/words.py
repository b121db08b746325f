"""Sentences about scenes, and their inverse for scoring.

A description always says all four attributes in the order size, texture, colour, shape:
``a small striped red circle``. "plain" is said, never implied, so a missing word is always a
mistake. A relation may follow: ``a small striped red circle left of a large dotted blue star``.
"""

import re
from typing import NamedTuple

import numpy as np

from tracevlm_ros.synthetic.scene import Scene, SceneObject, world_size
from tracevlm_ros.synthetic.vocabulary import COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES

# A relation is said only where one axis clearly dominates.
_DOMINANCE = 1.5


class Attributes(NamedTuple):
    """What a description says; ``relation`` to ``other``, or None for both."""

    size: str
    texture: str
    colour: str
    shape: str
    relation: str | None = None
    other: "Attributes | None" = None


def attributes_of(item: SceneObject) -> Attributes:
    return Attributes(item.size, item.texture, item.colour, item.shape)


def describe(scene: Scene, index: int, rng: np.random.Generator, relation: bool) -> str:
    """Say what object ``index`` of ``scene`` is; with ``relation``, also where it lies.

    The other object is drawn from those that lie clearly to one side; where there is none, the
    relation is left out.
    """
    phrase = _phrase(attributes_of(scene.objects[index]))
    if not relation:
        return phrase
    candidates = [
        (word, other)
        for other in range(len(scene.objects))
        if other != index and (word := relation_between(scene, index, other)) is not None
    ]
    if not candidates:
        return phrase
    word, other = candidates[int(rng.integers(len(candidates)))]
    return f"{phrase} {word} {_phrase(attributes_of(scene.objects[other]))}"


def relation_between(scene: Scene, index: int, other: int) -> str | None:
    """How object ``index`` lies to ``other``; None when neither axis dominates or they overlap."""
    height, width = world_size(scene.aspect)
    one, two = scene.objects[index], scene.objects[other]
    dx = (one.centre_xy[0] - two.centre_xy[0]) * width
    dy = (one.centre_xy[1] - two.centre_xy[1]) * height
    if max(abs(dx), abs(dy)) < 0.5 * (one.radius + two.radius):
        return None
    if abs(dx) > _DOMINANCE * abs(dy):
        return RELATIONS[0] if dx < 0 else RELATIONS[1]
    if abs(dy) > _DOMINANCE * abs(dx):
        return RELATIONS[2] if dy < 0 else RELATIONS[3]
    return None


def parse_description(text: str) -> Attributes | None:
    """The attributes that ``text`` says, or None when it does not follow the grammar of describe.

    Case, surrounding space and a final full stop do not matter.
    """
    match = _SENTENCE.fullmatch(text.strip().rstrip(".").strip().lower())
    if match is None:
        return None
    words = match.groups()
    if words[4] is None:
        return Attributes(words[0], words[1], words[2], words[3])
    other = Attributes(words[5], words[6], words[7], words[8])
    return Attributes(words[0], words[1], words[2], words[3], words[4], other)


def _phrase(attributes: Attributes) -> str:
    return f"a {attributes.size} {attributes.texture} {attributes.colour} {attributes.shape}"


def _either(words: tuple[str, ...]) -> str:
    return f"({'|'.join(words)})"


_PHRASE = r"a\s+" + r"\s+".join(_either(words) for words in (SIZES, TEXTURES, COLOURS, SHAPES))
_SENTENCE = re.compile(rf"{_PHRASE}(?:\s+{_either(RELATIONS)}\s+{_PHRASE})?")
