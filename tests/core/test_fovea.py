"""The window that the model looks at: where it is, and the way there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.fovea import FoveaConfig, Window, whole, window_of
from tracevlm_ros.core.types import FloatArray, Keypoints

FRAME_HW = (720, 1280)
MODEL_HW = (256, 256)
CONFIG = FoveaConfig(enabled=True)


def stroke(x: float, y: float, extent: float = 60.0) -> FloatArray:
    """Four points of a trace round (x, y)."""
    return np.array([[x, y]]) + extent / 2 * np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])


def window(*traces: FloatArray, config: FoveaConfig = CONFIG) -> Window:
    return window_of(traces, FRAME_HW, MODEL_HW, config)


def holds(found: Window, points: FloatArray) -> bool:
    low, high = points.min(axis=0), points.max(axis=0)
    corner = (found.x + found.width, found.y + found.height)
    return bool((low >= (found.x, found.y)).all() and (high <= corner).all())


@given(
    x=st.floats(0, 1280), y=st.floats(0, 720), extent=st.floats(0, 900), other=st.floats(0, 1280)
)
def test_it_lies_in_the_frame_and_holds_every_trace_that_does(
    x: float, y: float, extent: float, other: float
) -> None:
    traces = (stroke(x, y, extent), stroke(other, 360.0, 10.0))
    found = window(*traces)
    assert 0 <= found.x <= found.x + found.width <= FRAME_HW[1]
    assert 0 <= found.y <= found.y + found.height <= FRAME_HW[0]
    for trace in traces:
        assert holds(found, np.clip(trace, 0, (FRAME_HW[1], FRAME_HW[0])))


def test_a_short_look_gets_a_share_of_the_frame_and_a_long_stroke_more() -> None:
    short, long = window(stroke(600, 400, 10)), window(stroke(600, 400, 220))
    assert short.width == round(0.35 * 1280)
    assert 3 * 220 <= long.width <= 3 * 220 * 1.125 * 2**0.5


def test_small_motions_leave_it_where_it_is() -> None:
    found = {window(stroke(600 + step, 400)) for step in range(10)}
    assert len(found) <= 2


def test_traces_far_apart_are_seen_in_the_whole_frame() -> None:
    assert window(stroke(60, 60), stroke(1200, 650)) == whole(FRAME_HW)


@pytest.mark.parametrize(
    "traces",
    [(), (np.empty((0, 2)),), (np.full((2, 2), np.nan),), (stroke(-9000.0, 100.0),)],
    ids=["none", "empty", "nan", "outside"],
)
def test_where_nothing_is_to_be_seen_it_is_the_whole_frame(
    traces: tuple[FloatArray, ...],
) -> None:
    assert window(*traces) == whole(FRAME_HW)


def test_it_can_be_switched_off_and_a_frame_as_small_as_the_model_is_not_cut() -> None:
    assert window(stroke(600, 400), config=FoveaConfig(enabled=False)) == whole(FRAME_HW)
    small = window_of([stroke(60, 60, 5)], (100, 130), MODEL_HW, CONFIG)
    assert small == whole((100, 130))


@pytest.mark.parametrize(("name", "value"), [("reach", 0.5), ("least", 1.5), ("magnify", 0.0)])
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"fovea.{name}"):
        FoveaConfig(**{name: value})


def test_a_carried_mask_makes_room_round_it() -> None:
    mask = np.zeros((90, 160), np.bool_)
    mask[30:70, 40:90] = True
    for seen, cell, corner in ((whole(FRAME_HW), 8, (0, 0)), (PART, 448 / 160, (320, 160))):
        found = window(CONFIG.box_within(mask, seen))
        rows = np.array([30.0, 70.0]) * seen.height / 90
        columns = np.array([40.0, 90.0]) * cell
        assert holds(found, np.stack([columns, rows], axis=1) + corner)
        assert found.width >= 1.5 * 50 * cell


def test_keypoints_and_picture_are_those_of_the_window() -> None:
    found = Window(100, 50, 300, 200, FRAME_HW)
    image = np.zeros((*FRAME_HW, 3), np.uint8)
    image[60, 130] = 255
    assert found.cut(image)[10, 30, 0] == 255
    places = np.array([[130.0, 60.0]])
    flags = np.zeros(1, np.bool_)
    keypoints = Keypoints(places, np.zeros(1, np.int64), np.ones(1), flags, flags)
    assert found.keypoints(keypoints).xy_px.tolist() == [[30.0, 10.0]]


def ramp(size_hw: tuple[int, int], window: Window) -> np.ndarray:
    """x + 2 y in pixels of the frame, sampled at the centres of a field over ``window``."""
    rows = window.y + (np.arange(size_hw[0]) + 0.5) * window.height / size_hw[0]
    columns = window.x + (np.arange(size_hw[1]) + 0.5) * window.width / size_hw[1]
    return (columns[None] + 2 * rows[:, None]).astype(np.float32)


PART, SHIFTED = Window(320, 160, 448, 320, FRAME_HW), Window(376, 200, 448, 320, FRAME_HW)
GROWN, TALLER = Window(280, 120, 634, 453, FRAME_HW), Window(320, 100, 448, 448, FRAME_HW)


@pytest.mark.parametrize("to", [SHIFTED, GROWN, TALLER, whole(FRAME_HW)])
@pytest.mark.parametrize("start", [PART, GROWN, whole(FRAME_HW)])
@pytest.mark.parametrize("field_hw", [(16, 24), (90, 160), (240, 300)])
@pytest.mark.parametrize("moved_hw", [(64, 64), (360, 640)])
def test_a_field_keeps_its_place_in_the_frame_when_the_window_moves_or_grows(
    start: Window, to: Window, field_hw: tuple[int, int], moved_hw: tuple[int, int]
) -> None:
    moved = start.moved(ramp(field_hw, start), to, moved_hw, outside=-7.0)
    assert moved.shape == moved_hw
    rows = to.y + (np.arange(moved_hw[0]) + 0.5) * to.height / moved_hw[0]
    columns = to.x + (np.arange(moved_hw[1]) + 0.5) * to.width / moved_hw[1]
    is_old = ((rows >= start.y) & (rows <= start.y + start.height))[:, None] & (
        (columns >= start.x) & (columns <= start.x + start.width)
    )
    assert (moved[~is_old] == -7.0).all()
    cell = max(
        start.width / field_hw[1] + 2 * start.height / field_hw[0],
        to.width / moved_hw[1] + 2 * to.height / moved_hw[0],
    )
    assert np.abs(moved - ramp(moved_hw, to))[is_old].max() <= cell


def test_a_window_that_stays_changes_nothing_at_its_own_size() -> None:
    field = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for window in (whole(FRAME_HW), PART):
        assert window.moved(field, window, (64, 64), 0.0) is field


def test_places_in_the_frame_are_told_as_places_in_the_window() -> None:
    corners = np.array([[320 / 1280, 160 / 720], [768 / 1280, 480 / 720]])
    np.testing.assert_allclose(PART.shares(corners), [[0, 0], [1, 1]], atol=1e-12)
    assert whole(FRAME_HW).shares(corners) is corners
