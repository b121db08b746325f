import numpy as np
import pytest

from tracevlm_ros.core.answers import (
    BoxAnswer,
    GroundingAnswer,
    JointAnswer,
    NamedBox,
    SaidAndDrawn,
    TextAnswer,
    TraceAnswer,
)
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import dequantise, quantise
from training.data.messages import Branch, Exchange
from training.data.sequences import SequenceEncoder
from training.data.templates import (
    STAGE_1_ORDER,
    TEMPLATES,
    Task,
    say_box,
    say_grounding,
    say_joint,
    say_mask,
    say_text,
    say_trace,
)
from training.tokenizer import load_tokenizer

POINTS = np.array([[0.1, 0.2], [0.5, 0.999], [1.2, -0.1]])
BOX = (0.25, 0.1, 0.75, 0.9)
ANSWERS = {
    Task.TRACE_CAPTION: say_text("a red dog", mask=True),
    Task.TRACE_FROM_CAPTION: say_trace(POINTS),
    Task.JOINT: say_joint([SaidAndDrawn("a dog", POINTS), SaidAndDrawn("on grass", POINTS[:1])]),
    Task.INTERPRET: say_text("dog, then grass"),
    Task.GROUND: say_grounding([NamedBox("dog", BOX), NamedBox("grass", BOX)]),
    Task.ASK: say_text("it is red."),
    Task.SEGMENT: say_mask(),
    Task.REFER_BOX: say_box(BOX),
    Task.REFER_MASK: say_mask(),
    Task.IMAGE_CAPTION: say_text("two dogs"),
    Task.VIDEO_CAPTION: say_text("two dogs run"),
}
EXPECTED = {
    Task.TRACE_FROM_CAPTION: TraceAnswer,
    Task.JOINT: JointAnswer,
    Task.GROUND: GroundingAnswer,
    Task.REFER_BOX: BoxAnswer,
}


@pytest.mark.parametrize("task", list(Task))
def test_what_training_writes_is_read_back_without_problems(task: Task) -> None:
    found = TEMPLATES[task].parse(ANSWERS[task])
    assert isinstance(found, EXPECTED.get(task, TextAnswer))
    assert found.problems == ()


@pytest.mark.parametrize("task", list(Task))
def test_answers_survive_the_tokenizer(task: Task) -> None:
    """Encoded as for training, decoded as a model's answer is."""
    tokenizer = load_tokenizer()
    branch = Branch("key", (Exchange(task, "", ANSWERS[task]),))
    sequence = SequenceEncoder(tokenizer, (1, 1)).encode(branch, 1)
    said = sequence.ids[sequence.learned].tolist()
    end = tokenizer.token_to_id("<|im_end|>")
    text = tokenizer.decode([i for i in said if i != end], skip_special_tokens=False)
    one, two = TEMPLATES[task].parse(ANSWERS[task]), TEMPLATES[task].parse(text)
    assert repr(one._replace(problems=())) == repr(two._replace(problems=()))
    assert two.problems == ()


def test_places_come_back_to_the_bin() -> None:
    found = TEMPLATES[Task.TRACE_FROM_CAPTION].parse(ANSWERS[Task.TRACE_FROM_CAPTION])
    assert isinstance(found, TraceAnswer)
    assert np.array_equal(found.points, dequantise(quantise(POINTS)))
    box = TEMPLATES[Task.REFER_BOX].parse(ANSWERS[Task.REFER_BOX])
    assert isinstance(box, BoxAnswer)
    assert box.boxes[0] == pytest.approx(BOX, abs=1e-3)


def test_questions_need_what_they_ask_about() -> None:
    assert TEMPLATES[Task.REFER_BOX].ask(" the dog ") == "box of the dog"
    assert TEMPLATES[Task.SEGMENT].ask() == "mask of it"
    with pytest.raises(ConfigError, match="box of"):
        TEMPLATES[Task.REFER_BOX].ask("  ")


def test_tasks_that_write_places_do_not_see_the_trace() -> None:
    writes = (Task.TRACE_FROM_CAPTION, Task.JOINT, Task.REFER_BOX, Task.REFER_MASK)
    assert not any(TEMPLATES[task].reads_trace for task in writes)
    assert STAGE_1_ORDER == (Task.TRACE_CAPTION, Task.TRACE_FROM_CAPTION, Task.JOINT)


def test_no_two_tasks_ask_the_same() -> None:
    asked = [(t.token, t.question, t.reads_trace) for t in TEMPLATES.values()]
    assert len(set(asked)) == len(asked)
