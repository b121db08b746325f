"""Strokes through what a map shows."""

import numpy as np
import pytest

from tracevlm_ros.core.strokes import POINTS, stroke_in, surest_part


def logits_of(*things, size_hw=(32, 32)):
    """-4, and 4 times its certainty in each (rows, columns, certainty)."""
    found = np.full(size_hw, -4.0, np.float32)
    for rows, columns, certainty in things:
        found[rows, columns] = 4.0 * certainty
    return found


def test_a_stroke_lies_inside_the_thing_and_runs_along_it():
    points = stroke_in(logits_of((slice(10, 14), slice(4, 28), 1.0)))
    assert points.shape == (POINTS, 2)
    cells = points * 32 - 0.5
    assert ((cells[:, 1] >= 10.5) & (cells[:, 1] <= 12.5)).all()
    assert (np.diff(cells[:, 0]) > 3).all()
    assert cells[0, 0] < 9 and cells[-1, 0] > 22


def test_a_ring_is_not_crossed():
    row, column = np.mgrid[:32, :32]
    away = np.hypot(row - 15.5, column - 15.5)
    ring = (away > 7) & (away < 12)
    points = stroke_in(np.where(ring, 4.0, -4.0).astype(np.float32))
    column, row = (points * 32).astype(int).T
    assert ring[row, column].all()


def test_of_two_things_that_with_more_certainty_is_taken():
    both = logits_of((slice(2, 6), slice(2, 6), 1.0), (slice(20, 23), slice(20, 23), 1.0))
    assert surest_part(both)[3, 3] and not surest_part(both)[21, 21]
    assert (stroke_in(both) < 0.25).all()


def test_a_single_cell_is_one_point_at_its_centre():
    points = stroke_in(logits_of((slice(8, 9), slice(16, 17), 1.0)))
    assert points == pytest.approx(np.array([[16.5 / 32, 8.5 / 32]]))


def test_nothing_above_0_is_no_stroke():
    assert stroke_in(logits_of()) is None
    assert surest_part(logits_of()) is None


def test_maps_need_not_be_square():
    points = stroke_in(logits_of((slice(4, 8), slice(40, 60), 1.0), size_hw=(16, 64)))
    assert (points[:, 0] > 0.6).all() and (points[:, 1] < 0.5).all()
