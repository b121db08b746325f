import itertools

import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.synthetic.scene import BACKGROUNDS, SceneConfig, sample_scene, world_size
from tracevlm_ros.synthetic.vocabulary import COLOURS, RADIUS_RANGES, SHAPES, SIZES, TEXTURES


def test_a_scene_is_a_function_of_the_state_of_the_generator():
    scenes = [sample_scene(np.random.default_rng(5), SceneConfig()) for _ in range(2)]
    assert scenes[0] == scenes[1]
    assert scenes[0] != sample_scene(np.random.default_rng(6), SceneConfig())


def test_every_word_of_the_vocabulary_is_drawn():
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng, SceneConfig()) for _ in range(100)]
    items = [item for scene in scenes for item in scene.objects]
    assert {item.shape for item in items} == set(SHAPES)
    assert {item.colour for item in items} == set(COLOURS)
    assert {item.texture for item in items} == set(TEXTURES)
    assert {item.size for item in items} == set(SIZES)
    assert {scene.background.kind for scene in scenes} == set(BACKGROUNDS)


def test_size_words_follow_from_the_radius():
    rng = np.random.default_rng(1)
    for _ in range(30):
        for item in sample_scene(rng, SceneConfig()).objects:
            low, high = RADIUS_RANGES[item.size]
            assert low <= item.radius <= high
    ranges = [RADIUS_RANGES[size] for size in SIZES]
    assert all(one[1] < two[0] for one, two in itertools.pairwise(ranges))


@pytest.mark.parametrize("aspect", [1.0, 4 / 3, 0.5])
def test_objects_overlap_no_more_than_asked(aspect):
    rng = np.random.default_rng(2)
    config = SceneConfig(min_objects=5, max_objects=8, max_overlap=0.2, aspect=aspect)
    height, width = world_size(aspect)
    pairs = 0
    for _ in range(20):
        objects = sample_scene(rng, config).objects
        for index, one in enumerate(objects):
            for two in objects[:index]:
                dx = (one.centre_xy[0] - two.centre_xy[0]) * width
                dy = (one.centre_xy[1] - two.centre_xy[1]) * height
                assert np.hypot(dx, dy) >= 0.8 * (one.radius + two.radius) - 1e-12
                pairs += 1
    assert pairs > 100


def test_the_colour_classes_stay_apart_under_jitter():
    rng = np.random.default_rng(3)
    config = SceneConfig(min_objects=6, max_objects=6)
    seen: dict[str, list[np.ndarray]] = {colour: [] for colour in COLOURS}
    for _ in range(100):
        for item in sample_scene(rng, config).objects:
            seen[item.colour].append(np.array(item.colour_rgb))
    centres = {colour: np.mean(values, axis=0) for colour, values in seen.items()}
    for colour, values in seen.items():
        for value in values:
            nearest = min(centres, key=lambda name: float(np.linalg.norm(centres[name] - value)))
            assert nearest == colour


def test_a_word_outside_the_vocabulary_is_refused():
    with pytest.raises(ConfigError, match="shapes is 'blob'; it must be one of circle"):
        SceneConfig(shapes=("circle", "blob"))
    with pytest.raises(ConfigError, match="textures is empty"):
        SceneConfig(textures=())
    with pytest.raises(ConfigError, match="max_objects is 2"):
        SceneConfig(min_objects=3, max_objects=2)
