"""The memory of one window of the frame: what it knows keeps its place when the window moves."""

import cv2
import numpy as np
import pytest

from tests.core.mask_memory.moving_square import SIZE_HW, frame, truth
from tracevlm_ros.core.fovea import Window, whole
from tracevlm_ros.core.mask_memory import Carried, MaskMemory, MaskMemoryConfig
from tracevlm_ros.core.tracking.motion import still
from tracevlm_ros.core.types import BoolArray, FloatArray

TRACE = 7
SEEN = still(ok=True)
EVERYTHING = whole(SIZE_HW)
WINDOW = Window(8, 16, 64, 56, SIZE_HW)
"""Round the square of the first frames."""
MOVED, GROWN = Window(16, 22, 64, 56, SIZE_HW), Window(4, 6, 90, 80, SIZE_HW)
SIDE_PX = 32
"""The least that a memory can be asked for, so that its cells are two pixels wide or more."""


def said(window: Window, mask: BoolArray) -> FloatArray:
    """A model's logits for the part of ``mask`` (H, W) in ``window``."""
    part = cv2.resize(window.cut(mask).astype(np.float32), (24, 24), interpolation=cv2.INTER_AREA)
    return np.asarray(5 * part - 2.5, np.float32)


def step(memory: MaskMemory, index: int, window: Window, seeds: FloatArray | None = None) -> None:
    memory.advance(frame(index), SEEN)
    memory.turn(frame(index), window)
    given = {} if seeds is None else {TRACE: seeds}
    memory.fuse([TRACE], [said(window, truth(index))], given)


def told(frames: int, window: Window = WINDOW, **settings: object) -> MaskMemory:
    """A memory that was told the truth about ``window`` of the first ``frames`` frames."""
    memory = MaskMemory(MaskMemoryConfig(long_side=SIDE_PX, **settings))  # type: ignore[arg-type]
    for index in range(frames):
        step(memory, index, window)
    return memory


def in_frame(carried: Carried | None) -> BoolArray:
    """The mask at the frame's size; False outside its window."""
    assert carried is not None
    found = np.zeros(SIZE_HW, np.bool_)
    size_wh = (carried.window.width, carried.window.height)
    carried.window.cut(found)[:] = (
        cv2.resize(carried.mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) > 0
    )
    return found


def bounds(mask: BoolArray) -> FloatArray:
    """Left, top, right and bottom of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


@pytest.mark.parametrize("window", [MOVED, GROWN, EVERYTHING])
def test_a_mask_stays_where_it_is_in_the_frame_when_the_window_moves_or_grows(
    window: Window,
) -> None:
    memory = told(4, colour_weight=0.0)
    memory.advance(frame(4), SEEN)
    before = memory.carried(TRACE)
    memory.turn(frame(4), window)
    after = memory.carried(TRACE)
    assert after is not None
    assert after.window == window
    cell = max(window.width / after.mask.shape[1], window.height / after.mask.shape[0])
    assert np.abs(bounds(in_frame(before)) - bounds(in_frame(after))).max() <= cell


def test_what_only_the_new_window_shows_is_not_the_object() -> None:
    memory = told(4, Window(8, 16, 34, 56, SIZE_HW), colour_weight=0.0)
    memory.advance(frame(4), SEEN)
    memory.turn(frame(4), EVERYTHING)
    found = in_frame(memory.carried(TRACE))
    assert found[:, :40].any()
    assert not found[:, 42 + 4 :].any(), "half of the square was never shown"


def test_a_mask_follows_its_object_through_windows_that_move_with_it() -> None:
    memory = told(2)
    for index in range(2, 20):
        at = 8 + 2 * index // 8 * 8
        step(memory, index, Window(at, 16, 64, 56, SIZE_HW))
    memory.advance(frame(20), SEEN)
    found, wanted = in_frame(memory.carried(TRACE)), truth(20)
    assert (found & wanted).sum() / (found | wanted).sum() > 0.7


def test_a_small_object_is_remembered_more_finely_in_a_window() -> None:
    errors = []
    for window in (WINDOW, EVERYTHING):
        memory = told(4, window)
        memory.advance(frame(4), SEEN)
        errors.append(np.count_nonzero(in_frame(memory.carried(TRACE)) != truth(4)))
    assert errors[0] < errors[1]


def test_a_seen_keypoint_holds_its_place_in_the_window() -> None:
    memory = MaskMemory(MaskMemoryConfig(edge_px=0, seed_weight=8.0))
    memory.advance(frame(0), SEEN)
    memory.turn(frame(0), WINDOW)
    nothing = np.full((24, 24), -2.5, np.float32)
    (fused,) = memory.fuse([TRACE], [nothing], {TRACE: np.array([[32.5 / 128, 43.5 / 96]])})
    assert fused is not None
    assert fused.shape == WINDOW.size_hw
    assert np.argwhere(fused > 0).mean(axis=0) == pytest.approx([43 - 16, 32 - 8], abs=1.0)


def test_a_memory_of_the_whole_frame_is_not_changed_by_being_told_so() -> None:
    """To the bit; this is a pipeline without a fovea."""
    fields = []
    for turns in (False, True):
        memory = MaskMemory(MaskMemoryConfig())
        for index in range(6):
            memory.advance(frame(index), SEEN)
            if turns:
                memory.turn(frame(index), EVERYTHING)
            (fused,) = memory.fuse([TRACE], [said(EVERYTHING, truth(index))], {})
        fields.append(fused)
    np.testing.assert_array_equal(fields[0], fields[1])


def test_a_black_frame_is_passed_over_whatever_is_looked_at() -> None:
    memory = told(4)
    black = frame(4)._replace(image_rgb=np.zeros((*SIZE_HW, 3), np.uint8))
    memory.advance(black, still("black"))
    memory.turn(black, EVERYTHING)
    memory.fuse([TRACE], [None], {})
    memory.advance(frame(5), SEEN)
    carried = memory.carried(TRACE)
    assert carried is not None
    assert carried.window == WINDOW
    assert (in_frame(carried) & truth(5)).sum() / (in_frame(carried) | truth(5)).sum() > 0.6


def test_frames_of_another_size_begin_anew_in_all_of_them() -> None:
    memory = told(4)
    large = frame(4)._replace(image_rgb=np.zeros((192, 256, 3), np.uint8))
    sight = memory.look(large)
    assert sight is not None
    assert sight.window == whole((192, 256))
    memory.advance(large, still("size"), sight)
    assert memory.carried(TRACE) is None


def test_where_a_mask_went_is_told_by_motion_and_not_by_its_colours_elsewhere() -> None:
    """A second square of the same colours is uncovered, of which only colours tell."""
    memory = told(3, EVERYTHING)
    two = frame(3)
    two.image_rgb[66:94, 90:118] = two.image_rgb[30:58, 26:54]
    memory.advance(two, SEEN)
    carried, moved = in_frame(memory.carried(TRACE)), in_frame(memory.moved(TRACE))
    assert carried[70:90, 94:114].mean() > 0.5
    assert not moved[66:, 88:].any()
    assert (moved & truth(3)).sum() / (moved | truth(3)).sum() > 0.5
