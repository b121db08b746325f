"""Scenes of the synthetic world as training samples, over drawn or photographic backgrounds."""

from dataclasses import dataclass

import numpy as np

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Image
from tracevlm_ros.synthetic import vocabulary
from tracevlm_ros.synthetic.render import render
from tracevlm_ros.synthetic.scene import Scene, SceneConfig, SceneObject, sample_scene
from tracevlm_ros.synthetic.words import describe
from training.data.photos import InstancePhotos
from training.data.sample import Instance, Sample

MIN_VISIBLE_SHARE = 0.35


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticConfig:
    """``photo_background_share`` of the scenes lie over photos (where photos are given)."""

    photo_background_share: float = 0.4
    aspects: tuple[float, ...] = (1.0, 4 / 3, 16 / 9)

    def __post_init__(self) -> None:
        require_range("photo_background_share", self.photo_background_share, 0.0, 1.0)


class SyntheticScenes:
    """Endless and stateless: a sample is a pure function of the random generator given."""

    def __init__(
        self, config: SyntheticConfig, image_size: int, photos: InstancePhotos | None = None
    ) -> None:
        self._config = config
        self._size = image_size
        self._photos = photos

    def sample(self, rng: np.random.Generator) -> Sample:
        """A scene with at least one object that shows ``MIN_VISIBLE_SHARE`` of itself."""
        while True:
            aspect = self._config.aspects[int(rng.integers(len(self._config.aspects)))]
            scene = sample_scene(rng, SceneConfig(aspect=aspect))
            background = self._background(rng)
            rendered = render(scene, (self._size, self._size), background)
            instances = [
                Instance(mask, _classes(item), _answers(scene, index, rng))
                for index, item in enumerate(scene.objects)
                if _is_visible(mask := rendered.labels == index + 1, item, aspect)
            ]
            if instances:
                return Sample(rendered.image_rgb, tuple(instances), background_known=True)

    def _background(self, rng: np.random.Generator) -> Image | None:
        if self._photos is None or rng.random() >= self._config.photo_background_share:
            return None
        return self._photos.picture(rng)


def _is_visible(mask: np.ndarray, item: SceneObject, aspect: float) -> bool:
    """Whether enough of the object shows; a thin shape fills about 40% of its circle."""
    circle = np.pi * item.radius**2 / max(aspect, 1.0 / aspect) * mask.size
    return float(mask.sum()) >= 0.4 * MIN_VISIBLE_SHARE * circle


def _classes(item: SceneObject) -> dict[str, int]:
    return {
        "shape": 1 + vocabulary.SHAPES.index(item.shape),
        "colour": vocabulary.COLOURS.index(item.colour),
        "texture": vocabulary.TEXTURES.index(item.texture),
        "size": vocabulary.SIZES.index(item.size),
    }


def _answers(
    scene: Scene, index: int, rng: np.random.Generator
) -> tuple[tuple[str | None, str], ...]:
    item = scene.objects[index]
    phrase = describe(scene, index, rng, relation=False)
    return (
        (None, phrase),
        ("what is it?", phrase),
        ("what colour is it?", item.colour),
        ("what shape is it?", item.shape),
        ("what texture is it?", item.texture),
        ("how big is it?", item.size),
    )
