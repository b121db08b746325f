import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.prompt import PromptLayout, answer_positions, embed_prompt, prompt_ids
from tracevlm_ros.core.tokens import SPECIAL, special_tokens

IDS = {token: index for index, token in enumerate(special_tokens())}
LAYOUT = PromptLayout.from_ids(IDS, (2, 3))


def _texts(ids) -> list[str]:
    return [special_tokens()[index] for index in ids]


def test_a_caption_prompt_holds_image_trace_task_and_answer_in_this_order() -> None:
    prompt = prompt_ids(LAYOUT, 2)
    assert _texts(prompt.ids) == [
        SPECIAL.vision_start,
        *[SPECIAL.image_pad] * 6,
        SPECIAL.vision_end,
        SPECIAL.traj_start,
        *[SPECIAL.traj_pad] * 2,
        SPECIAL.traj_end,
        SPECIAL.caption,
        SPECIAL.answer,
    ]


def test_a_question_changes_the_task_and_stands_before_the_answer() -> None:
    prompt = prompt_ids(LAYOUT, 1, np.array([40, 41]))
    assert prompt.ids[-4:].tolist() == [IDS[SPECIAL.ask], 40, 41, IDS[SPECIAL.answer]]


def test_without_a_trace_the_trace_section_is_left_out() -> None:
    prompt = prompt_ids(LAYOUT, 0, task=LAYOUT.image_caption)
    assert IDS[SPECIAL.traj_start] not in prompt.ids
    assert prompt.ids[-2:].tolist() == [IDS[SPECIAL.image_caption], IDS[SPECIAL.answer]]


def test_a_search_is_embedded_without_trace_rows() -> None:
    table = np.arange(200, dtype=np.float32).reshape(100, 2)
    seen, words = np.full((6, 2), -1, np.float32), np.array([40, 41])
    prompt = embed_prompt(LAYOUT, lambda ids: table[ids], seen, seen[:0], words, LAYOUT.locate)
    ids = [IDS[SPECIAL.locate], 40, 41, IDS[SPECIAL.answer]]
    np.testing.assert_array_equal(prompt.embeddings[0, 1:7], seen)
    np.testing.assert_array_equal(prompt.embeddings[0, 8:], table[ids])


def test_image_positions_span_the_grid_and_text_counts_on_after_it() -> None:
    prompt = prompt_ids(LAYOUT, 1)
    time, row, column = prompt.position_ids
    assert time[1:7].tolist() == [1] * 6
    assert row[1:7].tolist() == [1, 1, 1, 2, 2, 2]
    assert column[1:7].tolist() == [1, 2, 3, 1, 2, 3]
    for axis in (time, row, column):
        assert axis[0] == 0
        assert axis[7:].tolist() == list(range(4, 4 + len(prompt.ids) - 7))
    assert prompt.next_position == time[-1] + 1
    assert answer_positions(prompt.next_position, 2)[:, 0].tolist() == [[10, 11]] * 3


def test_visual_and_trace_rows_replace_their_placeholders_only() -> None:
    table = np.arange(200, dtype=np.float32).reshape(100, 2)
    enhanced, trace = np.full((6, 2), -1, np.float32), np.full((2, 2), -2, np.float32)
    prompt = embed_prompt(LAYOUT, lambda ids: table[ids], enhanced, trace)
    ids = prompt_ids(LAYOUT, 2).ids
    for row, index in zip(prompt.embeddings[0], ids, strict=True):
        wanted = {IDS[SPECIAL.image_pad]: [-1, -1], IDS[SPECIAL.traj_pad]: [-2, -2]}
        assert row.tolist() == wanted.get(int(index), table[index].tolist())
    assert prompt.position_ids.shape == (3, 1, len(ids))


def test_a_wrong_number_of_image_tokens_names_both_numbers() -> None:
    with pytest.raises(ConfigError, match=r"5 image tokens.*6"):
        embed_prompt(
            LAYOUT,
            lambda ids: np.zeros((len(ids), 2), np.float32),
            np.zeros((5, 2), np.float32),
            np.zeros((1, 2), np.float32),
        )


def test_a_tokenizer_without_a_special_token_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[SEG\]"):
        PromptLayout.from_ids({k: v for k, v in IDS.items() if k != SPECIAL.seg}, (2, 2))
