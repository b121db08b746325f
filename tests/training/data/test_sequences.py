import numpy as np

from tracevlm_ros.core.prompt import answer_positions, prompt_ids
from training.data.messages import Branch, Exchange, TracePoints
from training.data.sequences import SequenceEncoder
from training.data.templates import Task
from training.tokenizer import encode_words, load_tokenizer, prompt_layout

TOKENIZER = load_tokenizer()
TRACE = TracePoints(np.full((3, 2), 0.5), np.zeros(3), np.zeros(3, np.bool_), np.zeros(3, np.int64))


def test_a_caption_is_laid_out_as_the_robot_lays_out_its_prompt() -> None:
    layout = prompt_layout(TOKENIZER, 2)
    branch = Branch("k", (Exchange(Task.TRACE_CAPTION, "", "a red dog [SEG]"),), TRACE)
    found = SequenceEncoder(TOKENIZER, (2, 2)).encode(branch, 1)
    prompt = prompt_ids(layout, 3)
    answer = [*encode_words(TOKENIZER, "a red dog"), layout.seg, *layout.codebook]
    assert found.ids.tolist() == [*prompt.ids.tolist(), *answer]
    steps = answer_positions(prompt.next_position, len(answer))[:, 0]
    assert np.array_equal(found.position_ids, np.concatenate([prompt.position_ids, steps], axis=1))
    assert found.learned.tolist() == [False] * len(prompt.ids) + [True] * len(answer)
    assert (found.ids[found.image] == layout.image_pad).all()
    assert (found.ids[found.trace] == layout.traj_pad).all()
    assert found.ids[found.codebook].tolist() == [list(layout.codebook)]


def test_a_question_about_a_place_has_no_trace_and_ends() -> None:
    layout = prompt_layout(TOKENIZER, 2)
    exchange = Exchange(Task.REFER_BOX, "box of a dog", "(1,2),(3,4)")
    found = SequenceEncoder(TOKENIZER, (2, 2)).encode(Branch("k", (exchange,)), 1)
    assert layout.traj_start not in found.ids
    assert found.ids[found.learned][-1] == layout.end
    assert len(found.trace) == 0
    assert found.codebook.shape == (0, 6)


def test_turns_follow_each_other_and_only_answers_are_learned() -> None:
    layout = prompt_layout(TOKENIZER, 1)
    turns = tuple(Exchange(Task.ASK, f"why {word}?", f"since {word}.") for word in ("so", "not"))
    found = SequenceEncoder(TOKENIZER, (1, 1)).encode(Branch("k", turns, TRACE), 1)
    expected: list[int] = []
    for turn in turns:
        expected += [*encode_words(TOKENIZER, turn.answer), layout.end]
    assert found.ids[found.learned].tolist() == expected
    assert (found.ids == layout.ask).sum() == 2


def test_clips_count_pictures_on_the_time_axis() -> None:
    exchange = Exchange(Task.VIDEO_CAPTION, "video", "it moves")
    found = SequenceEncoder(TOKENIZER, (2, 3)).encode(Branch("k", (exchange,)), 4)
    assert found.image.shape == (4, 6)
    time, row, column = found.position_ids[:, found.image]
    assert (time == np.arange(1, 5)[:, None]).all()
    assert (row == 1 + np.arange(6) // 3).all()
    assert (column == 1 + np.arange(6) % 3).all()
    after = found.position_ids[:, found.image.max() + 1]
    assert after.tolist() == [5, 5, 5]
