"""The memory follows, doubts, gives way, and forgets."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.core.mask_memory.moving_square import SIZE_HW, answer, frame, truth
from tracevlm_ros.core.mask_memory import MaskMemory, MaskMemoryConfig
from tracevlm_ros.core.mask_memory.small_picture import Field
from tracevlm_ros.core.tracking import FrameMotion
from tracevlm_ros.core.tracking.motion import still
from tracevlm_ros.core.types import BoolArray, Frame

TRACE = 7
SEEN = still(ok=True)
ELSEWHERE = np.zeros(SIZE_HW, dtype=bool)
ELSEWHERE[60:90, 90:124] = True


def step(
    memory: MaskMemory, picture: Frame, logit: Field | None, motion: FrameMotion = SEEN
) -> BoolArray | None:
    """One frame through the memory; the mask of the trace at the frame's size."""
    memory.advance(picture, motion)
    (fused,) = memory.fuse([TRACE], [logit], {})
    if fused is None:
        return None
    return np.asarray(cv2.resize(fused, SIZE_HW[::-1], interpolation=cv2.INTER_LINEAR) > 0)


def told(frames: int, **settings: object) -> MaskMemory:
    """A memory that was told the truth about the first ``frames`` frames."""
    memory = MaskMemory(MaskMemoryConfig(**settings))  # type: ignore[arg-type]
    for index in range(frames):
        step(memory, frame(index), answer(truth(index)))
    return memory


def iou(mask: BoolArray | None, other: BoolArray) -> float:
    assert mask is not None
    return float((mask & other).sum() / (mask | other).sum())


def test_a_mask_stays_on_its_object_while_the_model_is_not_asked() -> None:
    memory = told(3)
    for index in range(3, 20):
        mask = step(memory, frame(index), None)
        assert iou(mask, truth(index)) > 0.8, index


def test_the_model_is_offered_the_carried_mask_as_shares_once_there_is_one() -> None:
    memory = told(0)
    memory.advance(frame(0), SEEN)
    assert memory.prior(TRACE) is None
    memory = told(4)
    memory.advance(frame(4), SEEN)
    shares = memory.prior(TRACE)
    assert shares is not None
    assert 0.0 <= shares.min() < 0.1
    assert 0.9 < shares.max() <= 1.0
    carried = memory.carried(TRACE)
    assert carried is not None
    np.testing.assert_array_equal(shares > 0.5, carried.mask)


def test_motion_alone_carries_a_mask_when_colours_are_switched_off() -> None:
    memory = told(5, colour_weight=0.0, kept=1.0)
    for index in range(5, 12):
        mask = step(memory, frame(index), None)
    assert mask is not None
    middle, wanted = (np.argwhere(one).mean(axis=0) for one in (mask, truth(11)))
    assert np.abs(middle - wanted).max() < 7.0, "half of the way that the square went"


def test_one_answer_about_another_place_does_not_move_the_mask() -> None:
    memory = told(5)
    mask = step(memory, frame(5), answer(ELSEWHERE))
    assert iou(mask, truth(5)) > 0.8


def test_an_answer_that_persists_wins_where_colours_do_not_speak() -> None:
    memory = told(5, colour_weight=0.0)
    for index in range(5, 25):
        mask = step(memory, frame(index), answer(ELSEWHERE))
    assert iou(mask, ELSEWHERE) > 0.7


def test_the_mask_of_an_object_that_was_covered_is_not_shown() -> None:
    memory = told(5)
    for index in range(5, 12):
        mask = step(memory, frame(index, is_covered=True), None)
    assert mask is None
    memory.advance(frame(12, is_covered=True), SEEN)
    assert memory.carried(TRACE) is None


def test_it_says_where_the_object_should_be_before_the_model_answers() -> None:
    memory = told(4)
    memory.advance(frame(4), SEEN)
    carried = memory.carried(TRACE)
    assert carried is not None
    full = cv2.resize(carried.mask.astype(np.uint8), SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST)
    assert iou(full > 0, truth(4)) > 0.8


@pytest.mark.parametrize("reason", ["cut", "size"])
def test_after_a_cut_nothing_is_known(reason: str) -> None:
    memory = told(4)
    assert step(memory, frame(4), None, still(reason)) is None
    assert step(memory, frame(5), None) is None


def test_a_black_frame_is_passed_over() -> None:
    memory = told(4)
    black = frame(4)._replace(image_rgb=np.zeros((*SIZE_HW, 3), dtype=np.uint8))
    assert step(memory, black, None, still("black")) is None
    assert iou(step(memory, frame(5), None), truth(5)) > 0.8


def test_a_trace_that_is_forgotten_or_not_shown_any_more_begins_anew() -> None:
    memory = told(4)
    memory.forget(TRACE)
    memory.advance(frame(4), SEEN)
    assert memory.carried(TRACE) is None
    memory = told(4)
    memory.advance(frame(4), SEEN)
    assert memory.fuse([], [], {}) == []
    assert step(memory, frame(5), None) is None


def test_a_seen_keypoint_holds_the_place_that_the_model_leaves_out() -> None:
    hole = truth(0)
    hole[36:50, 24:40] = False
    seed = {TRACE: np.array([[32.5 / SIZE_HW[1], 43.5 / SIZE_HW[0]]])}
    shown = []
    for seeds in ({}, seed):
        memory = MaskMemory(MaskMemoryConfig(edge_px=0, seed_weight=8.0))
        memory.advance(frame(0), SEEN)
        (fused,) = memory.fuse([TRACE], [answer(hole)], seeds)
        assert fused is not None
        shown.append(bool(fused[43, 32] > 0))
    assert shown == [False, True]


def test_switched_off_it_hands_the_answers_through() -> None:
    memory = told(3, enabled=False)
    logit = answer(truth(3))
    memory.advance(frame(3), SEEN)
    fused = memory.fuse([TRACE, 8], [logit, None], {})
    assert fused[0] is logit
    assert fused[1] is None
    assert memory.carried(TRACE) is None


def test_the_same_frames_and_answers_give_the_same_fields_to_the_bit() -> None:
    fields = []
    for _ in range(2):
        memory = told(4)
        memory.advance(frame(4), SEEN)
        fields += memory.fuse([TRACE], [answer(ELSEWHERE)], {})
    np.testing.assert_array_equal(fields[0], fields[1])


def test_two_traces_do_not_touch_each_other() -> None:
    alone, both = MaskMemory(MaskMemoryConfig()), MaskMemory(MaskMemoryConfig())
    for index in range(4):
        logit = answer(truth(index))
        alone.advance(frame(index), SEEN)
        both.advance(frame(index), SEEN)
        (one,) = alone.fuse([TRACE], [logit], {})
        first, _ = both.fuse([TRACE, 8], [logit, answer(ELSEWHERE)], {})
        np.testing.assert_array_equal(one, first)


def seen_by_the_encoder(index: int) -> NDArray[np.float32]:
    """Features that know the square of frame ``index`` from the ground and from nothing else."""
    on = cv2.resize(truth(index).astype(np.float32), (16, 12), interpolation=cv2.INTER_AREA)
    return np.stack([on, 1 - on, np.full_like(on, 0.3)], axis=-1)


@pytest.mark.parametrize(("weight", "is_found"), [(3.0, True), (0.0, False)])
def test_what_the_encoder_knows_again_is_found_where_nothing_was_carried(
    weight: float, is_found: bool
) -> None:
    memory = MaskMemory(MaskMemoryConfig(colour_weight=0.0, kept=0.0, look_weight=weight))
    for index in range(4):
        memory.advance(frame(index), SEEN)
        memory.see(seen_by_the_encoder(index))
        memory.fuse([TRACE], [answer(truth(index))], {})
    memory.advance(frame(20), SEEN)
    memory.see(seen_by_the_encoder(20))
    carried = memory.carried(TRACE)
    assert carried is not None
    flags = carried.mask.astype(np.uint8)
    full = cv2.resize(flags, SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert (iou(full, truth(20)) > 0.6 if full.any() else False) is is_found


@pytest.mark.parametrize("features", [None, np.full((12, 16, 3), np.nan, np.float32)])
def test_features_that_are_missing_or_not_finite_change_nothing(
    features: NDArray[np.float32] | None,
) -> None:
    silent, plain = told(4), told(4)
    for known in (silent, plain):
        known.advance(frame(4), SEEN)
        known.see(seen_by_the_encoder(4))
        known.fuse([TRACE], [answer(truth(4))], {})
    silent.advance(frame(5), SEEN)
    silent.see(features)
    plain.advance(frame(5), SEEN)
    np.testing.assert_array_equal(silent.prior(TRACE), plain.prior(TRACE))
