import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.metrics.assignment import assign
from tracevlm_ros.evaluation.metrics.lbm import FULL_IMAGE, lbm, trivial_baselines


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = np.sort(rng.random((count, 2, 2)), axis=1)
    return corners.reshape(count, 4)


def exhaustive_cost(cost: np.ndarray) -> float:
    rows, columns = cost.shape
    return min(
        sum(cost[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


@pytest.mark.parametrize("seed", range(40))
def test_assignment_is_as_cheap_as_the_best_of_all_permutations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 5))
    columns = rows + int(rng.integers(0, 3))
    cost = rng.random((rows, columns)).round(int(rng.integers(1, 4)))
    chosen = assign(cost)
    assert len(set(chosen.tolist())) == rows
    assert cost[np.arange(rows), chosen].sum() == pytest.approx(exhaustive_cost(cost))


def test_forbidden_pairs_are_never_chosen_and_the_impossible_is_refused() -> None:
    cost = np.array([[np.inf, 5.0, 1.0], [np.inf, np.inf, 0.0]])
    assert assign(cost).tolist() == [1, 2]
    with pytest.raises(ValueError, match="cannot be assigned"):
        assign(np.array([[np.inf, 1.0], [np.inf, 1.0]]))


def test_more_rows_than_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="2 x 1"):
        assign(np.zeros((2, 1)))


def test_a_trace_matches_itself_and_any_order_of_arguments_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 33), random_boxes(rng, 47)
    assert lbm(first, first, k=0) == 0.0
    assert lbm(first, second, k=1) == lbm(second, first, k=1)


def test_with_k_0_each_box_takes_the_cheapest_of_its_own_stretch() -> None:
    rng = np.random.default_rng(1)
    short, long = random_boxes(rng, 5), random_boxes(rng, 10)
    expected = np.mean(
        [min(np.abs(short[i] - long[j]).mean() for j in (2 * i, 2 * i + 1)) for i in range(5)]
    )
    assert lbm(short, long, k=0) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
def test_a_wider_band_never_costs_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = random_boxes(rng, int(rng.integers(1, 70)))
    second = random_boxes(rng, int(rng.integers(1, 70)))
    costs = [lbm(first, second, k) for k in (0, 1, 2)]
    assert costs[0] >= costs[1] - 1e-12 >= costs[2] - 2e-12


def published_lp(distance: np.ndarray, k: int) -> float:
    """Least mean cost of matching rows with columns (P <= M), as the linear program of Meng et al.:
    each row gives 1, each column takes at most 1, nothing flows outside the band."""
    rows, columns = distance.shape
    flow = np.arange(rows * columns).reshape(rows, columns)
    gives, takes = np.zeros((2 * rows, flow.size)), np.zeros((columns, flow.size))
    for row in range(rows):
        gives[row, flow[row]] = 1
        low, high = ((row + shift) * columns / rows for shift in (-k, 1 + k))
        outside = [column for column in range(columns) if column < low or column >= high]
        gives[rows + row, flow[row, outside]] = 1
    for column in range(columns):
        takes[column, flow[:, column]] = 1
    given = np.concatenate([np.ones(rows), np.zeros(rows)])
    solved = linprog(
        distance.ravel(), A_ub=takes, b_ub=np.ones(columns), A_eq=gives, b_eq=given, bounds=(0, 1)
    )
    assert solved.status == 0, solved.message
    return float(solved.fun) / rows


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [0, 1])
def test_one_chunk_costs_what_the_published_linear_program_finds(k: int, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    short, long = random_boxes(rng, int(rng.integers(1, 21))), random_boxes(rng, 20 + seed)
    distance = np.abs(short[:, None] - long[None]).mean(axis=2)
    assert lbm(short, long, k) == pytest.approx(published_lp(distance, k), abs=1e-9)


def test_longer_traces_are_the_mean_of_the_linear_programs_of_their_chunks() -> None:
    """45 against 60 boxes: chunks of 20, 20 and 5, each against its share of the longer one."""
    rng = np.random.default_rng(7)
    short, long = random_boxes(rng, 45), random_boxes(rng, 60)
    share = 60 / 45 * 20
    costs = []
    for chunk in range(3):
        part = short[20 * chunk : 20 * chunk + 20]
        stretch = long[math.floor(chunk * share) : math.ceil((chunk + 1) * share)]
        costs.append(published_lp(np.abs(part[:, None] - stretch[None]).mean(axis=2), 1))
    assert lbm(short, long, k=1) == pytest.approx(np.mean(costs), abs=1e-9)


def test_with_k_1_two_neighbours_in_the_wrong_order_match() -> None:
    boxes = np.array([[0.0, 0.0, 0.1, 0.1], [0.9, 0.9, 1.0, 1.0]])
    assert lbm(boxes[::-1], boxes, k=0) == pytest.approx(0.9)
    assert lbm(boxes[::-1], boxes, k=1) == 0.0


def test_the_area_column_takes_no_part() -> None:
    rng = np.random.default_rng(2)
    boxes = random_boxes(rng, 7)
    with_area = np.column_stack([boxes, rng.random(7)])
    assert lbm(with_area, boxes, k=1) == 0.0


def test_trivial_baselines_are_the_lbm_of_a_constant_box() -> None:
    truth = random_boxes(np.random.default_rng(3), 9)
    baselines = trivial_baselines(truth, truth.mean(axis=0), k=0)
    assert set(baselines) == {"full image", "centre", "mean box"}
    assert baselines["full image"] == pytest.approx(np.abs(truth - FULL_IMAGE).mean())


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(0, 4\)"):
        lbm(np.zeros((0, 4)), np.zeros((3, 4)), k=0)
