"""Measures that need no ground truth: pointing, flicker, delays."""

import math

import numpy as np
import pytest

from tracevlm_ros.core.types import Keypoints
from tracevlm_ros.evaluation.metrics.pointing import point_in_mask
from tracevlm_ros.evaluation.metrics.stability import StabilityMeter, aligned_iou
from tracevlm_ros.evaluation.metrics.timing import percentiles


def disk(x: float, y: float, radius: float = 6.0) -> np.ndarray:
    rows, columns = np.mgrid[:40, :60]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def keypoints(xy: list[tuple[float, float]], lost: list[int]) -> Keypoints:
    count = len(xy)
    return Keypoints(
        np.array(xy), np.zeros(count, np.int64), np.ones(count), np.zeros(count, bool),
        np.array(lost, bool),
    )  # fmt: skip


def test_points_count_only_when_seen_and_inside_the_image() -> None:
    points = keypoints([(20, 20), (50, 5), (20, 21), (-9, 20), (math.nan, 3)], [0, 0, 1, 0, 0])
    assert point_in_mask(points, disk(20, 20)) == (1, 2)


def test_a_point_belongs_to_the_pixel_with_the_nearest_centre() -> None:
    mask = np.zeros((3, 3), dtype=bool)
    mask[1, 1] = True
    points = keypoints([(1.4, 0.6), (1.6, 1.0), (-0.4, -0.4), (2.6, 2.0)], [0, 0, 0, 0])
    assert point_in_mask(points, mask) == (1, 3)


def test_a_mask_that_only_moves_does_not_flicker() -> None:
    meter = StabilityMeter()
    for step in range(10):
        meter.add(disk(15 + 3 * step, 20))
    assert meter.result() == (0.0, 0.0)


def test_a_mask_that_changes_size_flickers_by_the_iou_it_loses() -> None:
    meter = StabilityMeter()
    meter.add(disk(20, 20, 6))
    meter.add(disk(20, 20, 8))
    expected = 1 - disk(20, 20, 6).sum() / disk(20, 20, 8).sum()
    assert meter.result().flicker == pytest.approx(expected)


def test_gaps_count_between_the_first_and_the_last_mask_only() -> None:
    meter = StabilityMeter()
    for shown in (0, 0, 1, 0, 1, 1, 0, 0):
        meter.add(disk(20, 20) if shown else None)
    assert meter.result().gap_share == pytest.approx(1 / 4)


def test_no_masks_give_no_figure() -> None:
    meter = StabilityMeter()
    meter.add(np.zeros((4, 4), dtype=bool))
    assert all(map(math.isnan, meter.result()))


def test_alignment_loses_pixels_at_the_edge_rather_than_wrapping_them() -> None:
    assert aligned_iou(disk(20, 20), disk(57, 20)) < 1.0


def test_percentiles_interpolate_and_none_give_nan() -> None:
    values = [float(value) for value in range(101)]
    assert percentiles(values) == (101, 50.0, 50.0, 95.0, 99.0, 100.0)
    assert percentiles([]).samples == 0
    assert math.isnan(percentiles([]).p95)
