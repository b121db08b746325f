import numpy as np

from training.data.priors import ABSENT_SHARE, draw_prior


def _mask() -> np.ndarray:
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 20:44] = True
    return mask


def _drawn(count: int, others: list[np.ndarray]) -> list[np.ndarray]:
    return [draw_prior(_mask(), others, np.random.default_rng(seed), 16) for seed in range(count)]


def test_about_half_of_the_priors_are_absent_and_the_others_are_shares() -> None:
    drawn = _drawn(400, [])
    empty = np.mean([not plane.any() for plane in drawn])
    assert abs(empty - ABSENT_SHARE) < 0.08
    assert all(plane.shape == (16, 16) and plane.dtype == np.float32 for plane in drawn)
    assert all(plane.min() >= 0.0 and plane.max() <= 1.0 + 1e-6 for plane in drawn)


def test_priors_resemble_the_mask_but_are_not_it() -> None:
    truth = _mask().reshape(16, 4, 16, 4).mean((1, 3)) > 0.5
    agreements = []
    for plane in _drawn(200, []):
        if plane.any():
            shown = plane > 0.5
            agreements.append((shown & truth).sum() / (shown | truth).sum())
    assert 0.55 < np.mean(agreements) < 0.97
    assert np.std(agreements) > 0.03


def test_now_and_then_the_prior_is_that_of_another_object() -> None:
    other = np.zeros((64, 64), np.bool_)
    other[:10, :10] = True
    of_other = [plane for plane in _drawn(600, [other]) if plane.any() and plane[0:3, 0:3].any()]
    assert 3 <= len(of_other) <= 60
