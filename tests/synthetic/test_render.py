import cv2
import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.synthetic.render import cover, render, texture_share
from tracevlm_ros.synthetic.scene import (
    BACKGROUNDS,
    Light,
    SceneConfig,
    sample_object,
    sample_scene,
)
from tracevlm_ros.synthetic.shapes import outline
from tracevlm_ros.synthetic.vocabulary import SHAPES, TEXTURES

DARKROOM = Light(gain=1.0, slope_xy=(0.0, 0.0), blur=0.0, noise=0.0, seed=0)


def plain_scene(objects, aspect=1.0):
    scene = sample_scene(np.random.default_rng(0), SceneConfig(aspect=aspect))
    return scene._replace(objects=tuple(objects), light=DARKROOM)


def item_of(**changes):
    item = sample_object(np.random.default_rng(4), SceneConfig())
    return item._replace(**{"texture": "plain", "angle": 0.0, "radius": 0.2, **changes})


def test_the_same_scene_gives_the_same_bytes():
    scene = sample_scene(np.random.default_rng(8), SceneConfig())
    one, two = render(scene, (120, 160)), render(scene, (120, 160))
    assert np.array_equal(one.image_rgb, two.image_rgb)
    assert np.array_equal(one.labels, two.labels)
    assert one.image_rgb.dtype == one.labels.dtype == np.uint8
    assert one.image_rgb.shape == (120, 160, 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_covered_area_is_that_of_the_outline(shape):
    size = 200
    patch = cover(item_of(shape=shape, angle=0.3), 1.0, (size, size))
    areas = [abs(shoelace(polygon)) for polygon in outline(shape)]
    expected = (areas[0] - sum(areas[1:])) * (0.2 * size) ** 2
    assert float(patch.alpha.sum()) == pytest.approx(expected, rel=0.03)


def shoelace(polygon):
    x, y = polygon.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_agree_with_a_point_by_point_test(shape):
    size = 60
    item = item_of(shape=shape, centre_xy=(0.45, 0.55), radius=0.35, angle=0.4)
    labels = render(plain_scene([item]), (size, size)).labels
    cos, sin = np.cos(0.4), np.sin(0.4)
    polygons = [
        (polygon @ np.array([[cos, sin], [-sin, cos]])) * 0.35 * size
        + np.array([0.45, 0.55]) * size
        - 0.5
        for polygon in outline(shape)
    ]
    for y in range(size):
        for x in range(size):
            inside, distance = even_odd(polygons, x, y)
            if distance > 1.0:
                assert labels[y, x] == int(inside), (x, y)


def even_odd(polygons, x, y):
    inside, distance = False, np.inf
    for polygon in polygons:
        corners = polygon.astype(np.float32)[:, None]
        signed = cv2.pointPolygonTest(corners, (float(x), float(y)), True)
        inside ^= signed > 0
        distance = min(distance, abs(signed))
    return inside, distance


def test_later_objects_cover_earlier_ones():
    back = item_of(shape="square", radius=0.3, colour_rgb=(255.0, 0.0, 0.0))
    front = item_of(shape="circle", radius=0.1, colour_rgb=(0.0, 0.0, 255.0))
    seen = render(plain_scene([back, front]), (100, 100))
    assert seen.labels[50, 50] == 2
    assert seen.labels[50, 32] == 1
    assert seen.labels[2, 2] == 0
    assert seen.image_rgb[50, 50].tolist() == [0, 0, 255]
    assert seen.image_rgb[50, 32].tolist() == [255, 0, 0]


def test_the_picture_is_the_same_at_another_resolution():
    scene = sample_scene(np.random.default_rng(9), SceneConfig(backgrounds=("gradient",)))
    scene = scene._replace(light=DARKROOM)
    small, large = render(scene, (112, 112)), render(scene, (448, 448))
    shrunk = cv2.resize(large.image_rgb, (112, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.image_rgb).mean() < 4.0
    assert (large.labels[2::4, 2::4] == small.labels).mean() > 0.98


def test_a_wide_scene_in_a_square_picture_is_stretched():
    item = item_of(shape="circle")
    square = render(plain_scene([item], aspect=2.0), (100, 100)).labels
    _, _, width, height = cv2.boundingRect(square)
    assert height == pytest.approx(2 * width, abs=2)
    wide = render(plain_scene([item], aspect=2.0), (100, 200)).labels
    _, _, width, height = cv2.boundingRect(wide)
    assert height == pytest.approx(width, abs=1)


def test_a_given_background_shows_where_no_object_is():
    photo = np.full((30, 40, 3), (10, 200, 30), np.uint8)
    seen = render(plain_scene([item_of(radius=0.1)]), (90, 120), photo)
    assert np.all(seen.image_rgb[:20] == (10, 200, 30))
    assert np.all(photo == (10, 200, 30))


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_every_background_fills_the_picture_with_its_colours(kind):
    scene = sample_scene(np.random.default_rng(3), SceneConfig(backgrounds=(kind,)))
    background = scene.background._replace(dark_rgb=(40, 50, 60), light_rgb=(120, 130, 140))
    scene = scene._replace(objects=(), light=DARKROOM, background=background)
    image = render(scene, (64, 96)).image_rgb
    assert image.shape == (64, 96, 3)
    assert image.std() > 1.0
    assert 40 <= np.median(image[:, :, 0]) <= 120


def test_textures_differ_and_are_seen_in_both_colours():
    shares = {}
    for texture in TEXTURES[1:]:
        item = item_of(shape="square", texture=texture, radius=0.4)
        patch = cover(item, 1.0, (120, 120))
        shares[texture] = texture_share(item, patch, 1.0, (120, 120))
        assert 0.1 < shares[texture].mean() < 0.7
        assert shares[texture].min() == 0.0
        assert shares[texture].max() == 1.0
    names = list(shares)
    for index, one in enumerate(names):
        for two in names[:index]:
            assert np.abs(shares[one] - shares[two]).mean() > 0.15


def test_stripes_repeat_at_their_period_along_their_direction():
    item = item_of(shape="square", texture="striped", radius=0.4, texture_angle=0.0)
    item = item._replace(texture_period=0.5)
    share = texture_share(item, cover(item, 1.0, (200, 200)), 1.0, (200, 200))
    assert np.allclose(share[:, :-40], share[:, 40:], atol=0.02)
    assert np.allclose(share[0], share[-1], atol=1e-3)


def test_objects_outside_the_picture_leave_no_label():
    gone = item_of(centre_xy=(-0.5, 0.5))
    half = item_of(centre_xy=(1.0, 0.5), shape="square")
    labels = render(plain_scene([gone, half]), (80, 80)).labels
    assert set(np.unique(labels)) == {0, 2}


def test_noise_and_gain_change_the_picture_but_not_the_labels():
    scene = plain_scene([item_of()])
    dark = scene._replace(light=Light(0.5, (0.2, 0.0), 2.0, 5.0, seed=3))
    one, two = render(scene, (600, 700)), render(dark, (600, 700))
    assert np.array_equal(one.labels, two.labels)
    assert two.image_rgb.mean() < 0.6 * one.image_rgb.mean()


def test_more_objects_than_labels_are_refused():
    with pytest.raises(ConfigError, match="256 objects"):
        render(plain_scene([item_of()] * 256), (20, 20))
