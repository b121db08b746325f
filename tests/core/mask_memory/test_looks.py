"""How an object looks to the model: learned from masks, told for other frames."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tracevlm_ros.core.mask_memory.looks import ObjectLook, take_looks
from tracevlm_ros.core.mask_memory.small_picture import Field

SIZE_HW = (90, 160)
GRID = (16, 16)


def masked(left: int, width: int = 4) -> NDArray[np.bool_]:
    """An upright bar on the grid."""
    mask = np.zeros(GRID, np.bool_)
    mask[4:12, left : left + width] = True
    return mask


def descriptors(
    mask: NDArray[np.bool_], channels: int = 24, kinds: tuple[int, int] = (0, 1), seed: int = 0
) -> NDArray[np.float32]:
    """Features of one kind on the bar and of another elsewhere, of any length, with noise."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(0, 1, (4, channels))
    plain = np.where(mask[..., None], means[kinds[0]], means[kinds[1]])
    noisy = plain + rng.normal(0, 0.5, plain.shape)
    return np.asarray(noisy * rng.uniform(0.5, 3.0, (*GRID, 1)), np.float32)


def share(mask: NDArray[np.bool_]) -> Field:
    """The bar at the size of the memory's picture."""
    rows = np.arange(SIZE_HW[0]) * GRID[0] // SIZE_HW[0]
    columns = np.arange(SIZE_HW[1]) * GRID[1] // SIZE_HW[1]
    return mask[rows][:, columns].astype(np.float32)


def agreement(score: Field, mask: NDArray[np.bool_]) -> float:
    found, wanted = score > 0, share(mask) > 0.5
    return float((found & wanted).sum() / (found | wanted).sum())


@pytest.mark.parametrize("channels", [24, 1280])
@pytest.mark.parametrize("width", [1, 4])
def test_it_is_found_where_it_went(channels: int, width: int) -> None:
    here, there = masked(3, width), masked(10, width)
    look = ObjectLook(take_looks(descriptors(here, channels)), share(here))
    score = look.score(take_looks(descriptors(there, channels, seed=1)), SIZE_HW)
    assert score.shape == SIZE_HW
    assert agreement(score, there) > 0.6
    assert abs(float(score[share(there) > 0.5].mean())) < 1.5


def test_a_new_side_of_it_is_learned_and_the_first_is_kept() -> None:
    mask = masked(6)
    look = ObjectLook(take_looks(descriptors(mask)), share(mask))
    turned = take_looks(descriptors(mask, kinds=(2, 1), seed=2))
    before = float(look.score(turned, SIZE_HW)[share(mask) > 0.5].mean())
    for seed in range(3, 60):
        look.renew(take_looks(descriptors(mask, kinds=(2, 1), seed=seed)), share(mask))
    after = float(look.score(turned, SIZE_HW)[share(mask) > 0.5].mean())
    assert after > before + 0.2
    first = take_looks(descriptors(mask, seed=77))
    assert agreement(look.score(first, SIZE_HW), mask) > 0.8


def test_a_mask_of_everything_or_nothing_breaks_nothing() -> None:
    for everywhere in (0.0, 1.0):
        look = ObjectLook(
            take_looks(descriptors(masked(6))), np.full(SIZE_HW, everywhere, np.float32)
        )
        assert np.isfinite(look.score(take_looks(descriptors(masked(6))), SIZE_HW)).all()


def test_grids_that_are_fine_enough_stay_as_they_are() -> None:
    assert take_looks(np.ones((16, 20, 3), np.float32)).size_hw == (32, 40)
    assert take_looks(np.ones((32, 32, 3), np.float32)).size_hw == (32, 32)
