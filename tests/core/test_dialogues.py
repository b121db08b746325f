"""Questions about a trace continue what was said about it, with the shipped model."""

from collections.abc import Iterator

import numpy as np
import pytest

from engine.runtime import load_engine
from engine.runtime.fake import FakeEngine
from engine.runtime.model_engine import ModelEngine
from tests.core.pipeline_scenes import START_NS
from tracevlm_ros.core.dialogues import Dialogues
from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.slow_path import DescribeRequest
from tracevlm_ros.core.types import Caption, Description, Keypoints, TraceSnapshot

SIZE_HW = (224, 224)
COLOUR, SHAPE = "what colour is it?", "what shape is it?"


@pytest.fixture(scope="module")
def nano() -> Iterator[ModelEngine]:
    engine = load_engine("nano", "onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    engine._info = engine._info._replace(converses=True)
    yield engine
    engine.close()


def asked(
    engine: Engine, trace_id: int, question: str, stamp_ns: int = START_NS
) -> DescribeRequest:
    """A question about a trace on a red square; each trace and stamp has a place of its own."""
    image = np.full((*SIZE_HW, 3), 90, np.uint8)
    image[60:140, 60:140] = (200, 40, 40)
    at = 0.35 + 0.05 * trace_id + (stamp_ns - START_NS) / 1e10
    points = np.array([[at, 0.4], [at + 0.1, 0.5]])
    prompt = TracePrompt(points, np.array([0.0, 0.1]), np.zeros(2, bool))
    keypoints = Keypoints(
        xy_px=points * SIZE_HW[::-1],
        stamp_ns=np.array([stamp_ns, stamp_ns]),
        weight=np.ones(2),
        pen_up=np.zeros(2, bool),
        lost=np.zeros(2, bool),
    )
    return DescribeRequest(
        snapshot=TraceSnapshot(trace_id, stamp_ns, stamp_ns, True, 2, keypoints),
        stamp_ns=stamp_ns,
        frame_id="camera",
        size_hw=SIZE_HW,
        grounded=engine.ground(engine.encode(image), [prompt]),
        place=0,
        question=question,
    )


def last(dialogues: Dialogues, request: DescribeRequest) -> tuple[Caption, Description]:
    *_, answer = dialogues.ask(request)
    return answer


def embeddings(answer: tuple[Caption, Description]) -> np.ndarray:
    """They change with all that the model has read."""
    found = answer[1].seg_embeddings
    assert found is not None
    return found


def test_a_second_question_about_a_trace_is_read_after_the_first(nano: ModelEngine) -> None:
    dialogues = Dialogues(nano)
    first = asked(nano, 1, COLOUR)
    last(dialogues, first)
    second = last(dialogues, asked(nano, 1, SHAPE, START_NS + 1_000_000_000))
    plain = nano.converse(first.grounded, 0)
    assert list(plain.ask(COLOUR))
    *_, expected = plain.ask(SHAPE)
    np.testing.assert_array_equal(embeddings(second), expected.seg_embeddings)
    assert second[1].text == expected.text
    alone = last(Dialogues(nano), first._replace(question=SHAPE))
    assert np.abs(embeddings(second) - embeddings(alone)).max() > 1e-4


def test_an_answer_tells_the_new_question_and_the_frame_that_the_model_has_read(
    nano: ModelEngine,
) -> None:
    dialogues = Dialogues(nano)
    last(dialogues, asked(nano, 1, COLOUR))
    caption, _ = last(dialogues, asked(nano, 1, SHAPE, START_NS + 1_000_000_000))
    assert caption.question == SHAPE
    assert caption.stamp_ns == START_NS


def test_only_the_traces_asked_about_last_are_remembered(nano: ModelEngine) -> None:
    dialogues = Dialogues(nano, limit=2)
    for trace_id in (1, 2, 1, 3):
        last(dialogues, asked(nano, trace_id, COLOUR))
    assert len(dialogues) == 2
    forgotten = asked(nano, 2, SHAPE)
    anew = embeddings(last(dialogues, forgotten))
    np.testing.assert_array_equal(anew, embeddings(last(Dialogues(nano), forgotten)))
    dialogues.clear()
    assert len(dialogues) == 0


def test_a_dialogue_that_grew_too_long_begins_anew_on_the_newest_frame(nano: ModelEngine) -> None:
    dialogues = Dialogues(nano)
    first, _ = last(dialogues, asked(nano, 1, COLOUR))
    assert first.stamp_ns == START_NS
    later = range(START_NS + 1, START_NS + 200)
    answers = (last(dialogues, asked(nano, 1, SHAPE, stamp_ns)) for stamp_ns in later)
    stamps = zip(later, (caption.stamp_ns for caption, _ in answers), strict=False)
    asked_ns, told_ns = next(pair for pair in stamps if pair[1] != START_NS)
    assert told_ns == asked_ns > START_NS + 1


def test_a_model_that_never_learned_dialogues_answers_each_question_by_itself(
    nano: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano, "_info", nano.info._replace(converses=False))
    dialogues = Dialogues(nano)
    last(dialogues, asked(nano, 1, COLOUR))
    later = asked(nano, 1, SHAPE, START_NS + 1_000_000_000)
    caption, _ = second = last(dialogues, later)
    assert caption.stamp_ns == later.stamp_ns
    *_, alone = nano.describe(later.grounded, 0, SHAPE)
    np.testing.assert_array_equal(embeddings(second), alone.seg_embeddings)


def test_an_engine_that_cannot_converse_answers_each_question_by_itself() -> None:
    engine = FakeEngine()
    dialogues = Dialogues(engine)
    for stamp_ns in (START_NS, START_NS + 1_000_000_000):
        caption, _ = last(dialogues, asked(engine, 1, COLOUR, stamp_ns))
        assert caption.stamp_ns == stamp_ns
    assert len(dialogues) == 0
