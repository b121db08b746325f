import itertools

import numpy as np
import pytest

from tracevlm_ros.synthetic.scene import SceneConfig, sample_object, sample_scene
from tracevlm_ros.synthetic.vocabulary import COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES
from tracevlm_ros.synthetic.words import (
    Attributes,
    attributes_of,
    describe,
    parse_description,
    relation_between,
)


def scene_with(*centres):
    rng = np.random.default_rng(0)
    config = SceneConfig(sizes=("small",))
    objects = [sample_object(rng, config)._replace(centre_xy=centre) for centre in centres]
    return sample_scene(rng, config)._replace(objects=tuple(objects))


def test_every_plain_description_is_parsed_back():
    for words in itertools.product(SIZES, TEXTURES, COLOURS, SHAPES):
        assert parse_description(f"a {' '.join(words)}") == Attributes(*words)


def test_descriptions_of_scenes_are_parsed_back_with_their_relation():
    rng = np.random.default_rng(1)
    relations = set()
    for _ in range(60):
        scene = sample_scene(rng, SceneConfig(min_objects=3))
        for index, item in enumerate(scene.objects):
            parsed = parse_description(describe(scene, index, rng, relation=True))
            assert parsed[:4] == attributes_of(item)[:4]
            if parsed.relation is not None:
                relations.add(parsed.relation)
                others = [
                    attributes_of(other)
                    for place, other in enumerate(scene.objects)
                    if place != index and relation_between(scene, index, place) == parsed.relation
                ]
                assert parsed.other in others
    assert relations == set(RELATIONS)


def test_relations_follow_the_places():
    scene = scene_with((0.2, 0.5), (0.8, 0.55), (0.2, 0.9))
    assert relation_between(scene, 0, 1) == "left of"
    assert relation_between(scene, 1, 0) == "right of"
    assert relation_between(scene, 0, 2) == "above"
    assert relation_between(scene, 2, 0) == "below"


def test_no_relation_is_said_on_the_diagonal_or_too_near():
    assert relation_between(scene_with((0.2, 0.2), (0.8, 0.8)), 0, 1) is None
    assert relation_between(scene_with((0.5, 0.5), (0.51, 0.5)), 0, 1) is None
    scene = scene_with((0.2, 0.2), (0.8, 0.8))
    assert " of " not in describe(scene, 0, np.random.default_rng(0), relation=True)


def test_case_space_and_a_full_stop_do_not_matter():
    assert parse_description("  A small  Plain RED circle. ") == Attributes(
        "small", "plain", "red", "circle"
    )


@pytest.mark.parametrize(
    "text",
    ["", "a red circle", "a small plain red circle left of", "a plain small red circle", "circles"],
)
def test_what_does_not_follow_the_grammar_is_none(text):
    assert parse_description(text) is None
