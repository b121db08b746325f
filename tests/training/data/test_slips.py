"""Keypoints that slid off their object, as a tracker brings them late in a clip."""

import numpy as np

from tests.training.data.test_priors import _mask
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.tokens import dequantise, quantise
from training.data.traces import SLIP_SHARE, slip

COUNT = 6


def _prompts(count: int) -> list[tuple[TracePrompt, TracePrompt]]:
    rows, columns = np.nonzero(_mask())
    pairs = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(rows), COUNT)
        shares = (np.stack([columns, rows], axis=1)[chosen] + 0.5) / len(_mask())
        points = dequantise(quantise(shares))
        prompt = TracePrompt(points, np.zeros(COUNT), np.zeros(COUNT, np.bool_))
        pairs.append((prompt, slip(prompt, _mask(), rng)))
    return pairs


def test_some_traces_slip_and_never_the_whole_of_one() -> None:
    stayed = [np.isclose(a.points, b.points).all(axis=1).sum() for a, b in _prompts(400)]
    assert min(stayed) >= 1
    assert 0.8 * SLIP_SHARE < np.mean(np.array(stayed) < COUNT) <= 1.2 * SLIP_SHARE


def test_what_slipped_moved_together_and_stays_in_the_frame() -> None:
    for before, after in _prompts(400):
        away = (after.points - before.points)[~np.isclose(before.points, after.points).all(axis=1)]
        assert (after.points >= 0).all()
        assert (after.points <= 1).all()
        if len(away) > 1 and np.linalg.norm(away.mean(axis=0)) > 0.2:
            assert (away @ away.mean(axis=0) > 0).all()


def test_one_keypoint_stays_where_it_is() -> None:
    one = TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, np.bool_))
    for seed in range(20):
        assert slip(one, _mask(), np.random.default_rng(seed)) is one
