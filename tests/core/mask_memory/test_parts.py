"""Small pictures, dense motion, colours, edges and settings."""

import numpy as np
import pytest

from tests.core.mask_memory.moving_square import SIZE_HW, frame, truth
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.mask_memory.appearance import Appearance
from tracevlm_ros.core.mask_memory.edges import follow_edges
from tracevlm_ros.core.mask_memory.evidence import odds_of, share_of, trust_of_model
from tracevlm_ros.core.mask_memory.small_picture import (
    COLOURS,
    DenseMotion,
    carry,
    small_size,
    take_small,
)
from tracevlm_ros.synthetic.warped_video import textured_picture


def test_a_small_picture_keeps_the_aspect_and_never_grows() -> None:
    picture = np.zeros((360, 640, 3), dtype=np.uint8)
    assert take_small(picture, small_size((360, 640), 160)).size_hw == (90, 160)
    assert small_size((40, 30), 160) == (40, 30)
    assert small_size((1, 640), 160) == (1, 160)


def test_every_colour_has_a_bin() -> None:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    colour = take_small(values, (64, 64)).colour
    assert colour.min() >= 0
    assert colour.max() < COLOURS


def test_a_field_is_carried_with_the_picture_and_doubted_where_it_was_uncovered() -> None:
    wide = textured_picture((96, 140), 4)
    before, now = (take_small(wide[:, at : at + 128], (96, 128)) for at in (6, 0))
    origin = DenseMotion().origin(before, now)
    field = np.zeros((96, 128), dtype=np.float32)
    field[30:60, 40:80] = 4.0
    moved = carry(field, origin)
    assert moved[34:56, 50:82].min() > 2.0
    assert np.abs(moved[:, :40]).max() < 0.5
    assert origin.trust[:, :5].mean() < origin.trust[:, 20:].mean()


def test_colours_of_the_object_speak_for_it_and_unknown_ones_for_nobody() -> None:
    picture = take_small(frame(0).image_rgb, SIZE_HW)
    look = Appearance(picture, truth(0).astype(np.float32))
    ratio = look.log_ratio(picture)
    assert ratio[truth(0)].mean() > 2.0
    assert ratio[~truth(0)].mean() < 0.0
    blue = np.full((*SIZE_HW, 3), (40, 60, 220), dtype=np.uint8)
    assert np.abs(look.log_ratio(take_small(blue, SIZE_HW))).max() < 1e-6


def test_the_first_look_is_never_unlearned() -> None:
    picture = take_small(frame(0).image_rgb, SIZE_HW)
    look = Appearance(picture, truth(0).astype(np.float32))
    ground = (~truth(0)).astype(np.float32)
    for _ in range(200):
        look.renew(picture, ground)
    assert look.likeness(picture, truth(0).astype(np.float32)) > 0.65
    assert look.log_ratio(picture)[truth(0)].mean() > 0.0


def test_a_soft_mask_is_laid_on_the_edge_beside_it() -> None:
    grey = np.where(np.arange(60) < 30, 60, 180).astype(np.uint8)[None].repeat(40, axis=0)
    share = np.clip((np.arange(60) - 22) / 8, 0, 1).astype(np.float32)[None].repeat(40, axis=0)
    laid = follow_edges(share, grey, 4)[20]
    assert laid[30] - laid[29] > 2 * (share[20, 30] - share[20, 29])
    assert int(np.argmax(np.diff(laid))) == 29


def test_odds_and_shares_are_each_others_inverse() -> None:
    odds = np.linspace(-3, 3, 20, dtype=np.float32)[None]
    np.testing.assert_allclose(odds_of(share_of(odds)), odds, atol=1e-4)


def test_a_model_is_believed_as_far_as_it_says_what_was_expected() -> None:
    config = MaskMemoryConfig(agreement=0.5, least_trust=0.1)
    carried = np.where(truth(0), np.float32(1), np.float32(-1))
    assert trust_of_model(carried, carried, config) == 1.0
    assert trust_of_model(carried, -carried, config) == 0.1
    assert 0.1 < trust_of_model(carried, np.roll(carried, 20, axis=1), config) < 1.0


@pytest.mark.parametrize(
    ("name", "value"), [("long_side", 8), ("kept", 1.5), ("colour_bound", 0.0), ("core", -0.1)]
)
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"memory\.{name} is {value}"):
        MaskMemoryConfig(**{name: value})  # type: ignore[arg-type]
