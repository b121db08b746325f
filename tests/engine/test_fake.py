"""The fake engine keeps the same promises as the real ones."""

import numpy as np
import pytest

from engine.runtime.fake import RADIUS, FakeEngine
from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.errors import EngineError, EngineMismatch
from tracevlm_ros.core.types import Image


def prompt_at(*points: tuple[float, float]) -> TracePrompt:
    count = len(points)
    return TracePrompt(
        np.array(points, dtype=np.float64).reshape(count, 2),
        np.zeros(count),
        np.zeros(count, dtype=np.bool_),
    )


def red_on_black() -> Image:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[:30, :40] = (220, 40, 40)
    return image


def test_a_description_grows_word_by_word_and_ends_with_embeddings() -> None:
    engine: Engine = FakeEngine()
    grounded = engine.ground(engine.encode(red_on_black()), [prompt_at((0.2, 0.2), (0.3, 0.2))])
    parts = list(engine.describe(grounded, 0))
    assert parts[-1].text == "something red at the top left"
    assert [len(part.text.split()) for part in parts] == [1, 2, 3, 4, 5, 6]
    assert [part.is_final for part in parts] == [False] * 5 + [True]
    assert [part.seg_embeddings is None for part in parts] == [True] * 5 + [False]


def test_a_question_leads_the_answer() -> None:
    engine = FakeEngine()
    grounded = engine.ground(engine.encode(red_on_black()), [prompt_at((0.9, 0.9))])
    *_, last = engine.describe(grounded, 0, question="Which colour?")
    assert last.text == "Which colour? something black at the bottom right"


def test_masks_are_discs_round_the_keypoints_in_frame_proportions() -> None:
    engine = FakeEngine(mask_size_hw=(60, 80))
    grounded = engine.ground(
        engine.encode(red_on_black()), [prompt_at((0.25, 0.5), (0.75, 0.5)), prompt_at((0.5, 0.5))]
    )
    *_, last = engine.describe(grounded, 0)
    logits, nothing = engine.segment(grounded, [last.seg_embeddings, None])
    assert nothing is None
    assert logits is not None
    y_px, x_px = np.mgrid[:60, :80] + 0.5
    expected = (
        np.minimum(np.hypot(x_px - 20, y_px - 30), np.hypot(x_px - 60, y_px - 30)) < RADIUS * 80
    )
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits > 0, expected)


def test_a_cancelled_description_stops_before_the_next_word_and_gives_no_final_part() -> None:
    engine = FakeEngine()
    grounded = engine.ground(engine.encode(red_on_black()), [prompt_at((0.2, 0.2))])
    spoken: list[str] = []
    for part in engine.describe(grounded, 0, cancelled=lambda: len(spoken) >= 2):
        spoken.append(part.text)
        assert not part.is_final
    assert spoken == ["something", "something red"]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((65, 2), 0.5), "65 keypoints, this model takes 1..64; simplify"),
        (np.empty((0, 2)), "0 keypoints, this model takes 1..64"),
        (np.array([[0.5, 320.0]]), "span 0.5..320, not within 0..1 of the frame; divide"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.array([0.5, 0.5]), r"\(2,\), the engine takes \(K, 2\)"),
    ],
)
def test_prompts_over_the_limits_are_refused_with_value_limit_and_remedy(
    points: np.ndarray, message: str
) -> None:
    engine = FakeEngine()
    features = engine.encode(red_on_black())
    bad = TracePrompt(points, np.zeros(len(points)), np.zeros(len(points), dtype=np.bool_))
    with pytest.raises(EngineMismatch, match=message):
        engine.ground(features, [bad])


def test_calls_after_close_are_errors_that_say_what_to_do() -> None:
    engine = FakeEngine()
    engine.close()
    with pytest.raises(EngineError, match="load another"):
        engine.encode(red_on_black())


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(EngineMismatch, match="float64"):
        FakeEngine().encode(np.zeros((4, 4, 3)))  # type: ignore[arg-type]
