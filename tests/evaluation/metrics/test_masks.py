import math

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.metrics.masks import (
    cumulative_iou,
    mean_iou,
    overlap,
    precision_at,
    region_j,
)


def square(low: int, high: int, size: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[low:high, low:high] = True
    return mask


def test_region_j_is_intersection_over_union() -> None:
    assert region_j(square(0, 10), square(5, 10)) == pytest.approx(25 / 100)


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    assert region_j(square(0, 0), square(0, 0)) == 1.0
    assert region_j(square(0, 0), square(0, 4)) == 0.0


def test_ciou_weighs_by_pixels_and_giou_by_samples() -> None:
    overlaps = [overlap(square(0, 10), square(0, 10)), overlap(square(0, 2), square(2, 4))]
    assert cumulative_iou(overlaps) == pytest.approx(100 / 108)
    assert mean_iou(overlaps) == pytest.approx(0.5)
    assert precision_at(overlaps, 0.5) == 0.5


def test_an_iou_of_exactly_the_threshold_counts() -> None:
    half = overlap(square(0, 2), np.pad(np.ones((4, 2), dtype=bool), ((0, 16), (0, 18))))
    assert half.iou == 0.5
    assert precision_at([half], 0.5) == 1.0


def test_no_samples_give_no_figure() -> None:
    assert all(math.isnan(measure([])) for measure in (cumulative_iou, mean_iou, precision_at))


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(20, 20\).*\(10, 10\)"):
        overlap(square(0, 1), square(0, 1, size=10))
