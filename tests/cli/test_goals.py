import pytest

from tracevlm_ros.cli.goals import goal_lines, judged

GOALS = {"time_ms": ("at most", 5.0), "share": ("at least", 0.9), "lead": ("above", 0.0)}


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({"time_ms": 5.0, "share": 0.9, "lead": 0.01}, [True, True, True]),
        ({"time_ms": 5.1, "share": 0.89, "lead": 0.0}, [False, False, False]),
        ({"share": 1.0}, [None, True, None]),
    ],
)
def test_each_goal_is_met_missed_or_not_measured(found, met):
    rows = judged(GOALS, found)
    assert [row["met"] for row in rows.values()] == met
    assert [row["found"] for row in rows.values()] == [found.get(name) for name in GOALS]


def test_lines_say_figure_goal_and_verdict():
    lines = goal_lines(judged(GOALS, {"time_ms": 5.125, "share": 0.95}))
    assert [line.split() for line in lines] == [
        ["time_ms", "5.125", "at", "most", "5", "NOT", "met"],
        ["share", "0.95", "at", "least", "0.9", "met"],
        ["lead", "-", "above", "0", "not", "measured"],
    ]
