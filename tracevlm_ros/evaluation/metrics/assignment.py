"""The assignment problem: each row one column of its own, at the least total cost."""

import numpy as np

from tracevlm_ros.core.types import FloatArray, IntArray


def assign(cost: FloatArray) -> IntArray:
    """Columns (R,) that minimise ``cost[r, column[r]]`` summed, for ``cost`` (R, C) with R <= C.

    Shortest augmenting paths with potentials (Jonker and Volgenant 1987), O(R^2 C). Forbidden
    pairs cost ``inf``; ValueError when no complete assignment is finite.
    """
    rows, columns = cost.shape
    if rows > columns:
        raise ValueError(f"cost is {rows} x {columns}; it must not have more rows than columns")
    row_of = np.full(columns, -1, dtype=np.int64)
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    for row in range(rows):
        _augment(cost, row, row_of, row_price, column_price)
    result = np.empty(rows, dtype=np.int64)
    taken = np.flatnonzero(row_of >= 0)
    result[row_of[taken]] = taken
    return result


def _augment(
    cost: FloatArray,
    start: int,
    row_of: IntArray,
    row_price: FloatArray,
    column_price: FloatArray,
) -> None:
    """Give ``start`` a column along the shortest path (Dijkstra); updates the last three."""
    columns = cost.shape[1]
    distance = np.full(columns, np.inf)
    previous = np.full(columns, -1, dtype=np.int64)
    done = np.zeros(columns, dtype=bool)
    tree = {start: 0.0}
    row, reached = start, 0.0
    while True:
        through = reached + cost[row] - row_price[row] - column_price
        nearer = ~done & (through < distance)
        distance[nearer], previous[nearer] = through[nearer], row
        column = int(np.argmin(np.where(done, np.inf, distance)))
        if done[column] or not np.isfinite(distance[column]):
            raise ValueError(f"row {start} cannot be assigned: every free column costs infinity")
        done[column], reached = True, float(distance[column])
        if row_of[column] < 0:
            break
        row = int(row_of[column])
        tree[row] = reached
    for member, at in tree.items():
        row_price[member] += reached - at
    column_price[done] -= reached - distance[done]
    while column >= 0:
        row = int(previous[column])
        held = np.flatnonzero(row_of == row)
        row_of[column] = row
        column = int(held[0]) if row != start else -1
