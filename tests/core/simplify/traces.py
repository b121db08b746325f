"""Hypothesis strategies and fixed traces that are hard on a simplifier."""

import numpy as np
from hypothesis import strategies as st

from tracevlm_ros.core.types import FloatArray


def random_walk(rng: np.random.Generator, count: int) -> FloatArray:
    return rng.normal(0, 2, (count, 2)).cumsum(axis=0)


def integer_grid(rng: np.random.Generator, count: int) -> FloatArray:
    """Full of exact ties and duplicates."""
    return rng.integers(0, 5, (count, 2)).astype(np.float64)


def collinear_runs(rng: np.random.Generator, count: int) -> FloatArray:
    steps = np.repeat(rng.integers(-2, 3, (count // 5 + 1, 2)), 5, axis=0)[:count]
    return steps.cumsum(axis=0).astype(np.float64)


def closed_loops(rng: np.random.Generator, count: int) -> FloatArray:
    turns = np.arange(count) * (2 * np.pi / int(rng.integers(8, 60)))
    return np.round(np.column_stack([np.cos(turns), np.sin(turns)]) * 40)


def hatching(rng: np.random.Generator, count: int) -> FloatArray:
    width = int(rng.integers(3, 30))
    along, row = np.arange(count) % width, np.arange(count) // width
    x = np.where(row % 2 == 0, along, width - 1 - along)
    return np.column_stack([x * 4.0, row * 3.0])


def out_and_back(rng: np.random.Generator, count: int) -> FloatArray:
    reach = int(rng.integers(2, 80))
    phase = np.arange(count) % (2 * reach)
    x = np.minimum(phase, 2 * reach - phase) * 3.0
    return np.column_stack([x, (np.arange(count) % 3) * float(rng.integers(0, 3))])


def fixations(rng: np.random.Generator, count: int) -> FloatArray:
    places = np.repeat(rng.uniform(0, 800, (count // 20 + 1, 2)), 20, axis=0)[:count]
    return places + rng.normal(0, 3, (count, 2))


KINDS = (
    random_walk,
    integer_grid,
    collinear_runs,
    closed_loops,
    hatching,
    out_and_back,
    fixations,
)
SCALES = (1.0, 1.0, 1e-9, 1e6)


@st.composite
def hard_traces(draw: st.DrawFn, min_size: int = 3, max_size: int = 120) -> FloatArray:
    """(N, 2) of one kind at one scale, with some points doubled and some jumps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    trace = draw(st.sampled_from(KINDS))(rng, draw(st.integers(min_size, max_size)))
    if draw(st.booleans()):
        trace = np.repeat(trace, rng.integers(1, 3, len(trace)), axis=0)[: len(trace)]
    return np.ascontiguousarray(trace * draw(st.sampled_from(SCALES)))


def points_lists(max_size: int = 12) -> st.SearchStrategy[FloatArray]:
    """Few points with any coordinates at all, small denormals included: hypothesis digs here."""
    coordinate = st.one_of(
        st.integers(-3, 3).map(float),
        st.floats(-1e12, 1e12),
        st.floats(-1e-150, 1e-150),
    )
    return st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=max_size).map(
        lambda rows: np.array(rows, dtype=np.float64)
    )


def tolerances_of(trace: FloatArray) -> tuple[float, ...]:
    """Zero, an exact distance in the trace (a tie with the tolerance), and shares of its size."""
    size = float(np.ptp(trace, axis=0).max())
    step = float(np.abs(np.diff(trace, axis=0)).max()) if len(trace) > 1 else 0.0
    return (0.0, step, 0.02 * size, 0.1 * size)
