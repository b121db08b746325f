"""Scenes of textured objects with known truth: what a still of the synthetic world holds.

A scene says everything that its picture depends on, so rendering is a pure function of it. Places
are shares of the image (0..1 in x and y), lengths are shares of the short side of the *world*,
whose ``aspect`` (width / height) may differ from that of the picture: a 4:3 scene rendered into a
square comes out stretched, as a camera image does that is resized for a model.
"""

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_choice, require_range
from tracevlm_ros.synthetic.vocabulary import (
    COLOUR_HSV,
    COLOURS,
    RADIUS_RANGES,
    SHAPES,
    SIZES,
    TEXTURES,
)

BACKGROUNDS = ("gradient", "noise", "wood", "brick", "clutter")
_PLACEMENT_TRIES = 30
_HUE_JITTER_DEG = 4.0


class SceneObject(NamedTuple):
    """One object; ``size``, ``texture``, ``colour`` and ``shape`` are words of the vocabulary.

    ``centre_xy`` in shares of the image width and height; ``radius`` of the circle about the
    outline, in short sides of the world; ``angle`` in radians, clockwise on the screen.
    ``colour_rgb`` is the jittered colour, 0..255. The texture lies on the object: ``texture_angle``
    (radians, relative to the object), ``texture_period`` (in radii), ``texture_phase`` (0..1 in
    both directions) and ``texture_rgb``, its second colour.
    """

    shape: str
    colour: str
    texture: str
    size: str
    centre_xy: tuple[float, float]
    radius: float
    angle: float
    colour_rgb: tuple[float, float, float]
    texture_rgb: tuple[float, float, float]
    texture_angle: float
    texture_period: float
    texture_phase: tuple[float, float]


class Background(NamedTuple):
    """A pattern ``kind`` (one of BACKGROUNDS), its ``seed`` and its two colours, 0..255."""

    kind: str
    dark_rgb: tuple[float, float, float]
    light_rgb: tuple[float, float, float]
    seed: int


class Light(NamedTuple):
    """What the camera does to the picture.

    ``gain`` multiplies everything; ``slope_xy`` is the change of the gain from edge to edge;
    ``blur`` is the sigma in thousandths of the short side; ``noise`` the sigma in grey levels.
    """

    gain: float
    slope_xy: tuple[float, float]
    blur: float
    noise: float
    seed: int


class Scene(NamedTuple):
    """``objects`` from back to front, ``i`` with label ``i + 1``; ``aspect`` is width / height."""

    objects: tuple[SceneObject, ...]
    background: Background
    light: Light
    aspect: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """What ``sample_scene`` draws from.

    ``max_overlap`` bounds how far two objects may cover each other: 0 keeps the circles about
    them apart, 1 lets them share a centre. ``max_angle_rad`` bounds the rotation to either side.
    ``margin`` is how far inside the image centres stay, in radii (0: half an object may be
    outside). ``max_noise`` in grey levels, ``max_blur`` in thousandths of the short side.
    """

    min_objects: int = 1
    max_objects: int = 6
    aspect: float = 1.0
    max_overlap: float = 0.35
    max_angle_rad: float = 0.6
    margin: float = 0.7
    max_noise: float = 7.0
    max_blur: float = 3.0
    shapes: tuple[str, ...] = SHAPES
    textures: tuple[str, ...] = TEXTURES
    colours: tuple[str, ...] = COLOURS
    sizes: tuple[str, ...] = SIZES
    backgrounds: tuple[str, ...] = BACKGROUNDS

    def __post_init__(self) -> None:
        require_range("min_objects", self.min_objects, 0, 200)
        require_range("max_objects", self.max_objects, max(1, self.min_objects), 200)
        require_range("aspect", self.aspect, 0.1, 10.0)
        require_range("max_overlap", self.max_overlap, 0.0, 1.0)
        require_range("max_angle_rad", self.max_angle_rad, 0.0, pi)
        require_range("margin", self.margin, 0.0, 2.0)
        require_range("max_noise", self.max_noise, 0.0, 50.0)
        require_range("max_blur", self.max_blur, 0.0, 20.0)
        self._require_words("shapes", self.shapes, SHAPES)
        self._require_words("textures", self.textures, TEXTURES)
        self._require_words("colours", self.colours, COLOURS)
        self._require_words("sizes", self.sizes, SIZES)
        self._require_words("backgrounds", self.backgrounds, BACKGROUNDS)

    @staticmethod
    def _require_words(name: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
        if not words:
            raise ConfigError(f"{name} is empty; give at least one of {', '.join(known)}")
        for word in words:
            require_choice(name, word, known)


def world_size(aspect: float) -> tuple[float, float]:
    """Height and width of the world in short sides."""
    return (1.0, aspect) if aspect >= 1.0 else (1.0 / aspect, 1.0)


def sample_scene(rng: np.random.Generator, config: SceneConfig) -> Scene:
    """Draw a scene. An object that finds no free place is left out, but the first always does.

    Large objects tend to lie behind small ones, since the draw is sorted by radius with noise:
    otherwise small ones would often vanish.
    """
    count = int(rng.integers(config.min_objects, config.max_objects + 1))
    objects: list[SceneObject] = []
    for _ in range(count):
        candidate = sample_object(rng, config)
        for _ in range(_PLACEMENT_TRIES):
            placed = candidate._replace(centre_xy=_sample_place(rng, config, candidate.radius))
            if not any(_overlap_too_much(placed, other, config) for other in objects):
                objects.append(placed)
                break
    depths = [item.radius * rng.uniform(0.6, 1.4) for item in objects]
    order = sorted(range(len(objects)), key=depths.__getitem__, reverse=True)
    return Scene(
        objects=tuple(objects[index] for index in order),
        background=sample_background(rng, config),
        light=sample_light(rng, config),
        aspect=config.aspect,
    )


def sample_object(rng: np.random.Generator, config: SceneConfig) -> SceneObject:
    """An object with drawn attributes, in the middle of the image."""
    size = _choose(rng, config.sizes)
    colour = _choose(rng, config.colours)
    colour_rgb = _jittered_rgb(rng, colour)
    return SceneObject(
        shape=_choose(rng, config.shapes),
        colour=colour,
        texture=_choose(rng, config.textures),
        size=size,
        centre_xy=(0.5, 0.5),
        radius=float(rng.uniform(*RADIUS_RANGES[size])),
        angle=float(rng.uniform(-config.max_angle_rad, config.max_angle_rad)),
        colour_rgb=colour_rgb,
        texture_rgb=_second_rgb(rng, colour, colour_rgb),
        texture_angle=float(rng.uniform(0.0, pi)),
        texture_period=float(rng.uniform(0.5, 0.65)),
        texture_phase=(float(rng.random()), float(rng.random())),
    )


def sample_background(rng: np.random.Generator, config: SceneConfig) -> Background:
    """A muted pair of colours most of the time, a vivid one sometimes."""
    saturation = rng.uniform(0.0, 0.35) if rng.random() < 0.8 else rng.uniform(0.35, 0.8)
    hue, value = rng.uniform(0.0, 360.0), rng.uniform(0.1, 0.6)
    light = min(0.9, value + rng.uniform(0.08, 0.35))
    return Background(
        kind=_choose(rng, config.backgrounds),
        dark_rgb=hsv_to_rgb(hue, saturation, value),
        light_rgb=hsv_to_rgb(hue + rng.uniform(-40.0, 40.0), saturation, light),
        seed=int(rng.integers(2**31)),
    )


def sample_light(rng: np.random.Generator, config: SceneConfig) -> Light:
    return Light(
        gain=float(rng.uniform(0.8, 1.15)),
        slope_xy=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.25, 0.25))),
        blur=float(max(0.0, rng.uniform(-0.5, 1.0)) * config.max_blur),
        noise=float(rng.uniform(0.0, 1.0) * config.max_noise),
        seed=int(rng.integers(2**31)),
    )


def hsv_to_rgb(hue_deg: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Hue in degrees (any), saturation and value 0..1, to red, green, blue 0..255."""

    def channel(offset: float) -> float:
        k = (offset + hue_deg / 60.0) % 6.0
        return 255.0 * (value - value * saturation * max(0.0, min(k, 4.0 - k, 1.0)))

    return channel(5.0), channel(3.0), channel(1.0)


def _choose(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _sample_place(
    rng: np.random.Generator, config: SceneConfig, radius: float
) -> tuple[float, float]:
    height, width = world_size(config.aspect)
    inset_x = min(0.5, config.margin * radius / width)
    inset_y = min(0.5, config.margin * radius / height)
    return float(rng.uniform(inset_x, 1 - inset_x)), float(rng.uniform(inset_y, 1 - inset_y))


def _overlap_too_much(one: SceneObject, other: SceneObject, config: SceneConfig) -> bool:
    height, width = world_size(config.aspect)
    dx = (one.centre_xy[0] - other.centre_xy[0]) * width
    dy = (one.centre_xy[1] - other.centre_xy[1]) * height
    limit = (one.radius + other.radius) * (1.0 - config.max_overlap)
    return dx * dx + dy * dy < limit * limit


def _jittered_rgb(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    hue, saturation, value = COLOUR_HSV[colour]
    if colour == "white":
        return hsv_to_rgb(rng.uniform(0, 360), rng.uniform(0, 0.05), rng.uniform(0.9, 1.0))
    return hsv_to_rgb(
        hue + rng.uniform(-_HUE_JITTER_DEG, _HUE_JITTER_DEG),
        min(1.0, saturation * rng.uniform(0.88, 1.08)),
        min(1.0, value * rng.uniform(0.88, 1.08)),
    )


def _second_rgb(
    rng: np.random.Generator, colour: str, rgb: tuple[float, float, float]
) -> tuple[float, float, float]:
    """A clearly darker shade of ``rgb``, or near white for a third of the coloured ones."""
    if colour not in ("white", "yellow", "cyan") and rng.random() < 0.35:
        share = rng.uniform(0.7, 0.85)
        return tuple(channel + share * (255.0 - channel) for channel in rgb)  # type: ignore[return-value]
    share = rng.uniform(0.25, 0.42)
    return tuple(share * channel for channel in rgb)  # type: ignore[return-value]
