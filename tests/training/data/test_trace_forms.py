import numpy as np

from training.data.messages import Branch, Exchange, TracePoints
from training.data.templates import Task
from training.data.trace_forms import show_trace

TRACE = TracePoints(
    np.array([[0.1, 0.5], [0.9, 0.5], [0.5, 0.1]]),
    np.zeros(3),
    np.array([False, False, True]),
    np.array([0, 0, 1]),
)
BRANCH = Branch("k", (Exchange(Task.TRACE_CAPTION, "", "a cat"),), TRACE)
BLACK = np.zeros((40, 40, 3), np.uint8)


def test_tvp_leaves_the_branch_as_it_is() -> None:
    assert show_trace(BRANCH, (BLACK, BLACK), "tvp") is BRANCH


def test_text_writes_the_trace_before_the_question() -> None:
    shown = show_trace(BRANCH, (BLACK, BLACK), "text")
    assert shown.trace is None
    assert shown.exchanges[0].question == "<traj>(100,500),(900,500),(500,100)</traj>"
    assert shown.exchanges[0].answer == "a cat"


def test_drawn_paints_each_picture_and_lifts_where_the_pen_was() -> None:
    shown = show_trace(BRANCH, (BLACK, BLACK), "drawn")
    assert shown.trace is None
    first, second = (image.any(axis=2) for image in shown.images)
    assert first[20, 4:36].all()
    assert first.sum() < 80
    assert second[4, 20]
    assert second.sum() < 9
    assert not BLACK.any()


def test_none_shows_nothing() -> None:
    assert show_trace(BRANCH, (BLACK, BLACK), "none") == BRANCH._replace(trace=None)
