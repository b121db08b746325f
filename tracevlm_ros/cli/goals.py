"""Goals of a benchmark beside what was found: one form for all that print them."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

Goals = Mapping[str, tuple[str, float]]
"""Name of a figure -> kind and limit, ``("at most", 5.0)``."""

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


def judged(goals: Goals, found: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    """For each goal the figure ``found``, the goal in words and whether it is met.

    A figure that was not measured is None, and so is ``met``.
    """
    rows = {}
    for name, (kind, limit) in goals.items():
        value = found.get(name)
        met = None if value is None else bool(_HOLDS[kind](value, limit))
        rows[name] = {"found": value, "goal": f"{kind} {limit:g}", "met": met}
    return rows


def goal_lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What ``judged`` gave, a line each."""
    width = max(map(len, rows), default=0)
    said = {True: "met", False: "NOT met", None: "not measured"}
    return [
        f"{name:<{width}}  {'-' if row['found'] is None else format(row['found'], '.4g'):>8}"
        f"  {row['goal']:<14} {said[row['met']]}"
        for name, row in rows.items()
    ]
