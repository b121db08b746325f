import math

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.metrics.boundary import boundary, boundary_f


def plain_boundary(mask: np.ndarray) -> list[tuple[int, int]]:
    """DAVIS's seg2bmap, pixel by pixel."""
    height, width = mask.shape
    found = []
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(a < height and b < width and mask[a, b] != mask[y, x] for a, b in neighbours):
                found.append((y, x))
    return found


def plain_f(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    """The definition: every pair of boundary pixels, Euclidean distance against the tolerance."""
    limit = math.ceil(tolerance * math.hypot(*truth.shape))
    ours, theirs = plain_boundary(predicted), plain_boundary(truth)
    if not ours or not theirs:
        return float(len(ours) == len(theirs))
    precision = np.mean([min(math.dist(a, b) for b in theirs) <= limit for a in ours])
    recall = np.mean([min(math.dist(a, b) for b in ours) <= limit for a in theirs])
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_boundary_f_equals_the_definition_on_random_blobs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:30, :41]
    masks = []
    for _ in range(2):
        y, x, radius = rng.uniform(0, 30), rng.uniform(0, 41), rng.uniform(2, 14)
        masks.append((rows - y) ** 2 + (columns - x) ** 2 < radius**2)
    for tolerance in (0.008, 0.05):
        expected = plain_f(masks[0], masks[1], tolerance)
        assert boundary_f(masks[0], masks[1], tolerance) == pytest.approx(expected, abs=1e-12)
    assert list(zip(*map(list, np.nonzero(boundary(masks[0]))), strict=True)) == plain_boundary(
        masks[0]
    )


def test_the_tolerance_is_rounded_up_and_inclusive() -> None:
    """A diagonal of 50 allows ceil(0.4) = 1 pixel: a shift of one matches, of two does not."""
    truth = np.zeros((30, 40), dtype=bool)
    truth[:, :20] = True
    assert boundary_f(np.roll(truth, 0, axis=1), truth) == 1.0
    shifted = np.zeros_like(truth)
    shifted[:, :21] = True
    assert boundary_f(shifted, truth) == 1.0
    shifted[:, :22] = True
    assert boundary_f(shifted, truth) == 0.0


def test_empty_masks() -> None:
    empty, full = np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    full[2:5, 2:5] = True
    assert boundary_f(empty, empty) == 1.0
    assert boundary_f(empty, full) == boundary_f(full, empty) == 0.0


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 4\).*\(4, 4\)"):
        boundary_f(np.zeros((3, 4), dtype=bool), np.zeros((4, 4), dtype=bool))
