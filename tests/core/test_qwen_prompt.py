"""The robot's layout of a Qwen turn: ids, rope ids, columns."""

import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.qwen_prompt import TOKEN_TEXTS, QwenLayout, lay_out_turn

IDS = {name: 900 + index for index, name in enumerate(TOKEN_TEXTS)}
LAYOUT = QwenLayout.from_ids(IDS, (2, 3))


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_the_prefix_does_not_depend_on_the_request() -> None:
    one, other = (lay_out_turn(LAYOUT, encode, 4, text) for text in ("what?", "a longer one"))
    assert one.prefix == other.prefix
    np.testing.assert_array_equal(one.ids[: one.prefix], other.ids[: one.prefix])
    np.testing.assert_array_equal(
        one.position_ids[:, : one.prefix], other.position_ids[:, : one.prefix]
    )
    assert one.ids[one.prefix :].tolist()[:5] == encode("what?")


def test_columns_point_at_the_placeholders() -> None:
    turn = lay_out_turn(LAYOUT, encode, 4, "what?")
    image = turn.ids[turn.first_image : turn.first_image + 6]
    keypoints = turn.ids[turn.first_keypoint : turn.first_keypoint + 4]
    assert set(image) == {LAYOUT.image_pad}
    assert set(keypoints) == {LAYOUT.traj_pad}
    assert turn.ids[turn.first_keypoint + 4] == LAYOUT.traj_end


def test_rope_ids_span_the_grid_and_count_on_after_its_larger_side() -> None:
    turn = lay_out_turn(LAYOUT, encode, 1, "x")
    first = turn.first_image
    image = turn.position_ids[:, first : first + 6] - first
    np.testing.assert_array_equal(image, [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]])
    assert set(turn.position_ids[:, first + 6]) == {first + 3}
    assert turn.next_position == turn.position_ids[0, -1] + 1


@pytest.mark.parametrize("keypoints", [4, 0])
def test_the_robot_lays_out_what_training_lays_out(keypoints: int) -> None:
    pytest.importorskip("torch", reason="training needs the extra [train]")
    from tests.training.tiny_qwen import tiny_config
    from training.model.qwen.layout import Grid
    from training.model.qwen.prompt import Picture, TraceSlots, chat

    config = tiny_config()
    book = {f"codebook_{index}": token for index, token in enumerate(config.tokens.codebook)}
    ids = {name: book.get(name) or getattr(config.tokens, name) for name in TOKEN_TEXTS}
    layout = QwenLayout.from_ids(ids, (3, 5))
    ours = lay_out_turn(layout, encode, keypoints, "What is it?")
    slots = TraceSlots(keypoints) if keypoints else None
    theirs = chat(config, encode, [Picture(Grid(1, 6, 10))], "What is it?", slots)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_array_equal(ours.position_ids, theirs.position_ids)
    assert ours.next_position == theirs.next_position
    assert ours.first_image == theirs.visual_columns[0]
    keypoint_columns = ours.first_keypoint + np.arange(keypoints)
    np.testing.assert_array_equal(keypoint_columns, theirs.trace_columns)


def test_a_missing_token_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks '\[SEG\]'"):
        QwenLayout.from_ids({**IDS, "seg": None}, (2, 2))  # type: ignore[dict-item]
