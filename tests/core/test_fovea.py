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
    box = CONFIG.box_within(mask, FRAME_HW)
    found = window(box)
    assert holds(found, np.array([[40.0, 30.0], [90.0, 70.0]]) * 8)
    assert found.width >= 1.5 * 50 * 8


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


@pytest.mark.parametrize("field_hw", [(64, 64), (16, 24), (240, 300)])
@pytest.mark.parametrize("frame_field_hw", [(90, 160), (360, 640)])
def test_fields_keep_their_places_on_the_way_out_and_in(
    field_hw: tuple[int, int], frame_field_hw: tuple[int, int]
) -> None:
    part, everything = Window(320, 160, 448, 320, FRAME_HW), whole(FRAME_HW)
    out = part.outward(ramp(field_hw, part), frame_field_hw, outside=-7.0)
    assert out.shape == frame_field_hw
    wanted = ramp(frame_field_hw, everything)
    scale = np.array(frame_field_hw) / FRAME_HW
    rows = slice(int(200 * scale[0]), int(440 * scale[0]))
    columns = slice(int(380 * scale[1]), int(700 * scale[1]))
    assert np.abs(out[rows, columns] - wanted[rows, columns]).max() < 3.0
    assert (out[: int(130 * scale[0])] == -7.0).all()
    back = part.inward(ramp(frame_field_hw, everything), field_hw)
    assert back.shape == field_hw
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(back[inner] - ramp(field_hw, part)[inner]).max() < 3.0


def test_the_whole_frame_changes_nothing_at_its_own_size() -> None:
    field = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    assert whole(FRAME_HW).outward(field, (64, 64), 0.0) is field
    assert whole(FRAME_HW).inward(field, (64, 64)) is field
