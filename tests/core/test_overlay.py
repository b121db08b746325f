"""The overlay is looked at by people; these tests hold what a program can see of it."""

import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.overlay import PALETTE, colour_of, draw_overlay
from tracevlm_ros.core.types import Keypoints, Masks, TraceSnapshot

SIZE = (120, 160)


def grey_frame() -> np.ndarray:
    return np.full((*SIZE, 3), 90, dtype=np.uint8)


def trace_of(xy: list[tuple[float, float]], trace_id: int = 1, **flags: list[int]) -> TraceSnapshot:
    count = len(xy)
    keypoints = Keypoints(
        xy_px=np.array(xy, dtype=np.float64).reshape(-1, 2),
        stamp_ns=np.arange(count, dtype=np.int64),
        weight=np.ones(count),
        pen_up=np.array(flags.get("pen_up", [0] * count), dtype=bool),
        lost=np.array(flags.get("lost", [0] * count), dtype=bool),
    )
    return TraceSnapshot(trace_id, 0, 1, False, count, keypoints)


def masks_of(labels: np.ndarray) -> Masks:
    ids = tuple(int(value) for value in np.unique(labels) if value)
    return Masks(0, "camera", labels.astype(np.uint16), ids)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != grey_frame()).any(axis=2)


def test_the_frame_itself_is_left_untouched() -> None:
    frame = grey_frame()
    labels = np.zeros(SIZE, dtype=np.uint16)
    labels[20:40, 20:40] = 1
    draw_overlay(frame, masks_of(labels), [trace_of([(5, 5), (60, 60)])], {1: "a box"})
    assert (frame == 90).all()


def test_nothing_to_draw_gives_the_frame_back() -> None:
    assert (draw_overlay(grey_frame(), None, [], {}) == grey_frame()).all()


def test_a_mask_is_tinted_in_the_colour_of_its_trace_and_nothing_far_away_changes() -> None:
    labels = np.zeros(SIZE, dtype=np.uint16)
    labels[40:80, 50:110] = 3
    picture = draw_overlay(grey_frame(), masks_of(labels), [], {})
    middle = picture[60, 80].astype(float)
    expected = 0.62 * 90 + 0.38 * np.array(colour_of(3))
    assert np.abs(middle - expected).max() <= 1
    far = np.ones(SIZE, dtype=bool)
    far[36:84, 46:114] = False
    assert not changed(picture)[far].any()


def test_strokes_are_not_joined_over_a_lifted_pen_or_a_lost_point() -> None:
    corners = [(20.0, 20.0), (20.0, 100.0), (140.0, 100.0)]
    whole = changed(draw_overlay(grey_frame(), None, [trace_of(corners)], {}))
    lifted = changed(draw_overlay(grey_frame(), None, [trace_of(corners, pen_up=[0, 0, 1])], {}))
    lost = changed(draw_overlay(grey_frame(), None, [trace_of(corners, lost=[0, 0, 1])], {}))
    assert whole[60, 20] and whole[100, 80]
    assert lifted[60, 20] and not lifted[100, 80]
    assert lost[60, 20] and not lost[100, 80]
    assert lost[94:106, 134:146].any(), "a lost point is still shown, hollow"


def test_points_that_are_nan_or_far_outside_are_passed_over() -> None:
    xy = [(float("nan"), 3.0), (1e12, 5.0), (30.0, 30.0), (50.0, 30.0)]
    seen = changed(draw_overlay(grey_frame(), None, [trace_of(xy)], {1: "x"}))
    assert seen[30, 40]


@pytest.mark.parametrize("corner", [(0, 0), (0, 150), (110, 0), (110, 150), (55, 75)])
def test_a_caption_is_drawn_whole_wherever_its_region_is(corner: tuple[int, int]) -> None:
    """The plate's dark area is the same in the corners as in the middle: nothing is cut off."""
    labels = np.zeros(SIZE, dtype=np.uint16)
    labels[corner[0] : corner[0] + 10, corner[1] : corner[1] + 10] = 1
    without = draw_overlay(grey_frame(), masks_of(labels), [], {})
    picture = draw_overlay(grey_frame(), masks_of(labels), [], {1: "red box"})
    middle = np.zeros(SIZE, dtype=np.uint16)
    middle[55:65, 75:85] = 1
    reference = draw_overlay(grey_frame(), masks_of(middle), [], {1: "red box"})
    plain = draw_overlay(grey_frame(), masks_of(middle), [], {})
    assert (picture != without).any(axis=2).sum() == (reference != plain).any(axis=2).sum() > 300


def test_captions_of_neighbours_do_not_cover_each_other() -> None:
    labels = np.zeros(SIZE, dtype=np.uint16)
    labels[60:70, 60:70], labels[60:70, 80:90] = 1, 2
    one = draw_overlay(grey_frame(), masks_of(labels), [], {1: "one"})
    two = draw_overlay(grey_frame(), masks_of(labels), [], {2: "two"})
    bare = draw_overlay(grey_frame(), masks_of(labels), [], {})
    both = draw_overlay(grey_frame(), masks_of(labels), [], {1: "one", 2: "two"})
    areas = [int((picture != bare).any(axis=2).sum()) for picture in (one, two, both)]
    assert areas[2] >= 0.98 * (areas[0] + areas[1])


def test_a_caption_without_a_region_and_an_endless_one_still_fit_in_a_tiny_picture() -> None:
    frame = np.full((24, 32, 3), 90, dtype=np.uint8)
    picture = draw_overlay(frame, None, [], {7: "word " * 80, 8: "x" * 500, 9: "  "})
    assert picture.shape == frame.shape
    assert (picture != frame).any()


def test_colours_depend_on_the_id_alone_and_differ_among_neighbours() -> None:
    assert colour_of(5) == colour_of(5 + len(PALETTE))
    assert len({colour_of(trace_id) for trace_id in range(1, 13)}) == 12


def test_masks_of_another_size_are_refused_by_size() -> None:
    with pytest.raises(InputError, match=r"\(4, 4\).*\(120, 160\)"):
        draw_overlay(grey_frame(), masks_of(np.ones((4, 4))), [], {})
