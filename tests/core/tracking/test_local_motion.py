"""The motion of one trace, fitted against points that disagree."""

import numpy as np
import pytest

from tracevlm_ros.core.tracking.local_motion import fit_local_motion


def affine(points):
    return points + (points - 50) @ np.array([[0.05, -0.02], [0.03, 0.04]]).T + (9.0, -4.0)


@pytest.fixture
def points():
    return np.random.default_rng(2).uniform(0, 100, (30, 2))


def test_an_affine_motion_is_found_exactly_without_stiffness(points):
    motion, agree = fit_local_motion(points, affine(points), 2.0, stiffness=0.0)
    assert agree.all()
    assert motion.support == 30
    others = np.array([[0.0, 0.0], [100.0, 30.0]])
    assert np.abs(others + motion.displacement(others) - affine(others)).max() < 1e-4


def test_points_that_move_otherwise_do_not_bend_it(points):
    measured = points + np.array([6.0, 2.0])
    measured[::4] += (25.0, -10.0)
    motion, agree = fit_local_motion(points, measured, 2.0)
    assert not agree[::4].any()
    assert agree.sum() == 22
    assert np.abs(motion.displacement(points) - (6.0, 2.0)).max() < 1e-6


def test_one_point_alone_gives_its_own_shift():
    motion, agree = fit_local_motion(np.array([[5.0, 5.0]]), np.array([[7.0, 4.0]]), 2.0)
    assert agree.tolist() == [True]
    assert np.allclose(motion.displacement(np.array([[50.0, 0.0]])), [[2.0, -1.0]])


def test_points_that_all_disagree_give_no_motion():
    points = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    motion, agree = fit_local_motion(points, points + 40 * np.eye(3)[:, :2], 2.0)
    assert motion.support == 0
    assert not agree.any()


def test_no_points_and_points_that_are_not_finite_give_no_motion():
    assert fit_local_motion(np.empty((0, 2)), np.empty((0, 2)), 2.0)[0].support == 0
    bad = np.array([[np.nan, 0.0], [1.0, 1.0]])
    assert fit_local_motion(bad, bad, 2.0)[0].support == 0
