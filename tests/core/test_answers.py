import string

import numpy as np
import pytest

from tracevlm_ros.core.answers import (
    MAX_CHARACTERS,
    parse_boxes,
    parse_grounding,
    parse_joint,
    parse_mask,
    parse_text,
    parse_trace,
)
from tracevlm_ros.core.tokens import dequantise, special_tokens

PARSERS = (parse_text, parse_mask, parse_trace, parse_joint, parse_boxes, parse_grounding)


def test_a_caption_with_its_mask_is_read_without_problems() -> None:
    found = parse_text(" a red dog [SEG]<|seg_0|><|seg_1|><|seg_2|><|seg_3|><|seg_4|><|seg_5|>")
    assert found == ("a red dog", True, ())
    assert parse_text("a red dog<|im_end|>") == ("a red dog", False, ("special_token_in_text",))


@pytest.mark.parametrize(
    ("text", "words", "mask", "problems"),
    [
        ("", "", False, ("empty",)),
        ("[SEG]", "", True, ()),
        ("a dog [SEG] and a cat", "a dog", True, ("text_after_seg",)),
        ("a dog [SEG][SEG]", "a dog", True, ("seg_repeated",)),
        ("a <traj>(1,2)</traj> dog", "a (1,2) dog", False, ("traj_in_text",)),
        ("a <|task_ask|> dog", "a dog", False, ("special_token_in_text",)),
        ("  a\n\n dog\t", "a dog", False, ()),
    ],
)
def test_malformed_captions_keep_their_words(text, words, mask, problems) -> None:
    assert parse_text(text) == (words, mask, problems)


def test_a_mask_answer_says_nothing_else() -> None:
    assert parse_mask("[SEG]").problems == ()
    assert parse_mask("sure [SEG]").problems == ("text_before_seg",)
    assert parse_mask("sure").problems == ("seg_missing",)


def test_a_trace_comes_back_at_the_middle_of_its_bins() -> None:
    found = parse_trace("<traj>(0,999),(12,345)</traj>")
    assert found.problems == ()
    assert np.array_equal(found.points, dequantise([[0, 999], [12, 345]]))


@pytest.mark.parametrize(
    ("text", "bins", "problems"),
    [
        ("<traj>(1,2),(3,4)", [[1, 2], [3, 4]], ("traj_unclosed",)),
        ("(1,2),(3,4)", [[1, 2], [3, 4]], ("traj_missing",)),
        ("here: <traj>(1,2)</traj>", [[1, 2]], ("text_outside_traj",)),
        ("<traj>(1,2)</traj><traj>(3,4)</traj>", [[1, 2]], ("traj_repeated",)),
        ("<traj>(1, 2) (3,4</traj>", [[1, 2]], ("points_malformed",)),
        ("<traj>(1,2),(3,4),</traj>", [[1, 2], [3, 4]], ("points_malformed",)),
        ("<traj>(01,2)</traj>", [[1, 2]], ("points_malformed",)),
        ("<traj>(1.7,2)</traj>", [[1, 2]], ("points_malformed",)),
        (
            "<traj>(1000,-5)</traj>",
            [[999, 0]],
            ("points_malformed", "coordinate_out_of_range"),
        ),
        ("<traj></traj>", [], ("trace_empty",)),
        ("<traj>nothing</traj>", [], ("points_malformed", "trace_empty")),
        ("<traj>(１,２)</traj>", [], ("points_malformed", "trace_empty")),
        ("<traj>(" + "9" * 9999 + ",1)</traj>", [], ("points_malformed", "trace_empty")),
        ("", [], ("traj_missing", "trace_empty")),
    ],
)
def test_malformed_traces_keep_the_points_that_can_be_read(text, bins, problems) -> None:
    found = parse_trace(text)
    assert found.problems == problems
    assert np.array_equal(found.points, dequantise(bins).reshape(-1, 2))


def test_joint_answers_pair_phrases_with_their_traces() -> None:
    found = parse_joint("a man <traj>(1,2),(3,4)</traj> on a road <traj>(5,6)</traj>")
    assert found.problems == ()
    assert [part.text for part in found.parts] == ["a man", "on a road"]
    assert found.caption == "a man on a road"
    assert np.array_equal(found.points, dequantise([[1, 2], [3, 4], [5, 6]]))


@pytest.mark.parametrize(
    ("text", "phrases", "problems"),
    [
        ("a man <traj>(1,2)</traj> and more", ["a man", "and more"], ("words_without_traj",)),
        ("a man <traj>(1,2)", ["a man"], ("traj_unclosed",)),
        ("<traj>(1,2)</traj>", [""], ("traj_without_words",)),
        ("a man <traj></traj>", ["a man"], ("trace_empty",)),
        ("a man", ["a man"], ("words_without_traj",)),
        ("", [], ("empty",)),
    ],
)
def test_malformed_joint_answers_keep_what_is_there(text, phrases, problems) -> None:
    found = parse_joint(text)
    assert [part.text for part in found.parts] == phrases
    assert found.problems == problems
    assert found.points.shape[1] == 2


def test_boxes_are_pairs_of_corners() -> None:
    found = parse_boxes("(10,20),(30,40),(1,2),(3,4)")
    assert found.problems == ()
    assert found.boxes == ((0.0105, 0.0205, 0.0305, 0.0405), (0.0015, 0.0025, 0.0035, 0.0045))


@pytest.mark.parametrize(
    ("text", "count", "problems"),
    [
        ("(30,40),(10,20)", 1, ("corners_swapped",)),
        ("(1,2)", 0, ("corner_missing", "box_missing")),
        ("(1,2),(3,4),(5,6)", 1, ("corner_missing",)),
        ("none", 0, ("points_malformed", "box_missing")),
        ("", 0, ("box_missing",)),
    ],
)
def test_malformed_boxes_keep_the_pairs(text, count, problems) -> None:
    found = parse_boxes(text)
    assert len(found.boxes) == count
    assert found.problems == problems
    assert all(x1 <= x2 and y1 <= y2 for x1, y1, x2, y2 in found.boxes)


def test_grounding_names_what_lies_in_each_box() -> None:
    found = parse_grounding("a man (1,2),(3,4); a dog (5,6),(7,8)")
    assert found.problems == ()
    assert [part.text for part in found.parts] == ["a man", "a dog"]
    broken = parse_grounding("a man; (1,2),(3,4); a dog (5,6),(7,8),(9,9);")
    assert [part.text for part in broken.parts] == ["a dog"]
    assert broken.problems == ("box_missing", "name_missing", "box_repeated")


def test_endless_answers_are_cut() -> None:
    for parse in PARSERS:
        assert "too_long" in parse("(1,2)," * MAX_CHARACTERS).problems


def test_no_text_makes_a_parser_raise() -> None:
    rng = np.random.default_rng(0)
    pieces = [*special_tokens(), *"(),;.-+0123456789 \n\x00\ud800é９", *string.ascii_letters[:8]]
    pieces += ["(1,2)", "(1,", "999999999", "1e5", "nan", "<traj", "[SEG", "(1000,0)"]
    for _ in range(3000):
        count = int(rng.integers(0, 12))
        text = "".join(pieces[i] for i in rng.integers(0, len(pieces), count))
        for parse in PARSERS:
            found = parse(text)
            assert len(set(found.problems)) == len(found.problems)
        points = parse_trace(text).points
        assert ((points >= 0) & (points <= 1)).all()
