"""Prompts without a trace: searches and captions of whole pictures, and their scores."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

import training.evaluation
from tests.training.tiny import tiny_model, tiny_run
from tracevlm_ros.core.answers import TraceAnswer, parse_trace
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.prompt import LOCATE_QUESTION, PromptIds
from tracevlm_ros.core.qwen_prompt import LOCATE_REQUEST
from training import generation
from training.checkpoint import Checkpoint, load_checkpoint, pack
from training.data.messages import Branch, Exchange
from training.data.qwen_sequences import REQUESTS
from training.data.sample import Instance, Sample
from training.data.sequences import SequenceEncoder
from training.data.templates import TEMPLATES, Task
from training.evaluation import HeldOut, Judge, evaluate_captions, evaluate_located
from training.evaluation.located import Searched, located_scores, share_inside, singular
from training.tokenizer import encode_words, load_tokenizer, prompt_layout

TOKENIZER = load_tokenizer()
LAYOUT = prompt_layout(TOKENIZER, 2)
LOCATE = Task.TRACE_FROM_CAPTION


def _judge() -> Judge:
    """Of a model that finds what a text describes by writing places."""
    model = tiny_model().eval()
    model.word_map = None
    return Judge(model, TOKENIZER, LAYOUT)


def _picture(side: int = 64, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def _mask(columns: slice) -> np.ndarray:
    mask = np.zeros((10, 10), np.bool_)
    mask[:, columns] = True
    return mask


def test_the_robot_asks_what_training_asks() -> None:
    assert TEMPLATES[LOCATE].question == LOCATE_QUESTION
    assert f"{REQUESTS[LOCATE]} {TEMPLATES[LOCATE].question}" == LOCATE_REQUEST


@pytest.mark.parametrize(("task", "about"), [(LOCATE, "a red circle"), (Task.IMAGE_CAPTION, "")])
def test_a_prompt_without_a_trace_is_laid_out_as_in_training(monkeypatch, task, about) -> None:
    prompts: list[PromptIds] = []
    limits: list[int] = []

    def noted(_language, _seen, prompt, _layout, limit):
        prompts.append(prompt)
        limits.append(limit)
        return generation._Said((), None)

    monkeypatch.setattr(generation, "_say", noted)
    judging = _judge()
    judging.answer(judging.look(_picture()), task, about)
    exchange = Exchange(task, TEMPLATES[task].ask(about), "")
    encoder = SequenceEncoder(TOKENIZER, LAYOUT.grid_hw)
    learned = encoder.encode(Branch("told", (exchange,)), 1, awaiting=True)
    np.testing.assert_array_equal(prompts[0].ids, learned.ids)
    np.testing.assert_array_equal(prompts[0].position_ids, learned.position_ids)
    assert limits == [generation.TOKEN_LIMITS[task]]


@torch.no_grad()
def test_an_answer_without_a_trace_equals_one_pass_without_a_cache() -> None:
    judging = _judge()
    language = judging.model.model
    tokens = judging.look(_picture())
    text = judging.answer(tokens, Task.IMAGE_CAPTION)
    prompt = generation.prompt_ids(LAYOUT, 0, task=LAYOUT.image_caption)
    ids, said = prompt.ids.tolist(), []
    while len(said) < generation.TOKEN_LIMITS[Task.IMAGE_CAPTION]:
        x = language.embed_tokens(torch.tensor([[*ids, *said]]))
        x[:, 1 : 1 + tokens.shape[1]] = tokens
        more = generation.answer_positions(prompt.next_position, len(said))
        places = np.concatenate([prompt.position_ids[:, None], more], axis=2)
        hidden = language(x, torch.from_numpy(places)).hidden
        token = int(language.logits(hidden[:, -1])[0].argmax())
        if token in (LAYOUT.seg, LAYOUT.end):
            break
        said.append(token)
    assert said
    assert text == TOKENIZER.decode(said, skip_special_tokens=False)


def test_a_trace_that_is_written_token_by_token_keeps_its_marks(monkeypatch) -> None:
    written = [
        TOKENIZER.token_to_id("<traj>"),
        *encode_words(TOKENIZER, "(12,345),(678,9)"),
        TOKENIZER.token_to_id("</traj>"),
    ]
    monkeypatch.setattr(generation, "_say", lambda *_: generation._Said(tuple(written), None))
    judging = _judge()
    found = parse_trace(judging.answer(judging.look(_picture()), LOCATE, "it"))
    assert found.problems == ()
    np.testing.assert_allclose(found.points, [[0.0125, 0.3455], [0.6785, 0.0095]])


def test_points_are_inside_where_their_pixel_is_on_the_mask() -> None:
    left = _mask(slice(0, 5))
    points = np.array([[0.0005, 0.5], [0.4995, 0.9995], [0.5005, 0.5], [0.9995, 0.0]])
    assert share_inside(points, left) == 0.5
    assert share_inside(points[:0], left) == 0.0


def test_only_descriptions_of_one_visible_object_are_asked_for() -> None:
    def item(text: str) -> Instance:
        return Instance(_mask(slice(0, 1)), {}, ((None, text), ("what is it?", text)))

    items = tuple(item(text) for text in ("a circle", "a star", "a circle", "a ring"))
    found = singular(Sample(_picture(), items, True))
    assert [text for text, _ in found] == ["a star", "a ring"]
    assert found[0][1] is items[1]


def test_searches_are_scored_by_points_distance_and_format() -> None:
    left = _mask(slice(0, 5))
    truth = np.array([[0.25, 0.25], [0.25, 0.75]])
    other = np.array([[0.75, 0.25], [0.25, 0.75]])
    outside = np.array([[0.75, 0.25], [0.75, 0.75], [0.25, 0.5]])
    scores = located_scores(
        [
            Searched(TraceAnswer(truth, ()), left, truth),
            Searched(TraceAnswer(other, ()), left, truth),
            Searched(TraceAnswer(outside, ("traj_unclosed",)), left, truth),
            Searched(TraceAnswer(truth[:0], ("traj_missing", "trace_empty")), left, truth),
        ]
    )
    assert scores.objects == 4
    assert scores.points_inside == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert scores.found == 0.5
    assert scores.object_area == 0.5
    assert scores.format_failures == 0.5
    whole, first, second = 0.5, 0.0, 0.125
    third = scores.lbm["k0"] * 4 - whole - first - second
    assert 0.1 < third < 0.3
    assert scores.lbm["k1"] <= scores.lbm["k0"]
    assert scores.lbm_trivial["k0"] == pytest.approx(
        {"full image": 0.5, "centre": 0.25, "mean box": 0.125}
    )
    assert scores.as_mapping()["data"] == "located"
    assert "found 0.500" in scores.as_line()


def test_no_search_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match="score more scenes"):
        located_scores([])


def test_an_untrained_network_finds_nothing_in_held_out_scenes() -> None:
    scores = evaluate_located(_judge(), scenes=3)
    assert scores.objects >= 3
    assert scores.format_failures == 1.0
    assert scores.points_inside == 0.0
    assert scores.lbm == pytest.approx({"k0": 0.5, "k1": 0.5})


def test_held_out_searches_are_the_same_each_time(monkeypatch) -> None:
    asked: list[str] = []

    def answer(_judge, _tokens, _task, about=""):
        asked.append(about)
        return "<traj>(500,500)</traj>"

    monkeypatch.setattr(Judge, "answer", answer)
    first, second = (evaluate_located(_judge(), scenes=4) for _ in range(2))
    assert first == second
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]
    assert all(len(text.split()) == 5 for text in asked)
    assert first.format_failures == 0.0


def _write_photos(folder, captions) -> None:
    (folder / "images").mkdir()
    images = [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)]
    for image in images:
        cv2.imwrite(str(folder / "images" / image["file_name"]), np.zeros((40, 60, 3), np.uint8))
    (folder / "instances.json").write_text(json.dumps({"images": images}))
    (folder / "captions.json").write_text(json.dumps(captions))


def test_captions_of_whole_photos_are_scored_against_all_of_peoples(tmp_path, monkeypatch) -> None:
    cat, dog = "a black cat on a red sofa", "a small dog in the green grass"
    _write_photos(tmp_path, {"1": [f"{cat}.", "one animal"], "2": [dog, "someone's pet"]})
    said = iter([cat, f"{dog} [SEG] more", cat, cat])
    monkeypatch.setattr(Judge, "answer", lambda *_: next(said))
    right = evaluate_captions(_judge(), tmp_path)
    assert right.pictures == 2
    assert right.cider_d == pytest.approx(5.0)
    assert (right.distinct, right.format_failures) == (1.0, 0.5)
    same = evaluate_captions(_judge(), tmp_path)
    assert same.cider_d < 0.7 * right.cider_d
    assert (same.distinct, same.format_failures) == (0.5, 0.0)
    assert same.as_mapping()["data"] == "captions"
    assert "2 pictures" in same.as_line()


def test_captions_that_cannot_be_scored_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"captions\.json cannot be read"):
        evaluate_captions(_judge(), tmp_path)
    _write_photos(tmp_path, {"7": ["a cat"]})
    with pytest.raises(InputError, match=r"captions\.json has image 7, instances\.json not"):
        evaluate_captions(_judge(), tmp_path)
    (tmp_path / "captions.json").write_text("{}")
    with pytest.raises(InputError, match="holds no captions"):
        evaluate_captions(_judge(), tmp_path)


def _checkpoint(**data: float) -> Checkpoint:
    config = dataclasses.replace(tiny_run(), steps=1).as_mapping()
    weights = tiny_model().state_dict()
    config["data"] = {**config["data"], **data}
    return Checkpoint(config, 1, 1.0, weights, [], torch.get_rng_state(), [])


def test_a_checkpoint_knows_whether_its_run_learned_to_locate(tmp_path) -> None:
    assert not _checkpoint().locates
    assert not _checkpoint(told_share=0.0).locates
    assert _checkpoint(told_share=0.2).locates
    pack(_checkpoint(told_share=0.2), tmp_path / "packed.safetensors")
    assert load_checkpoint(tmp_path / "packed.safetensors").locates


@pytest.mark.parametrize(
    ("locates", "shuffled", "wanted"),
    [
        (True, False, ["synthetic", "located", "captions"]),
        (True, True, ["synthetic", "captions"]),
        (False, False, ["synthetic", "captions"]),
    ],
)
def test_searches_are_scored_where_they_were_learned_and_captions_where_given(
    tmp_path, monkeypatch, locates, shuffled, wanted
) -> None:
    _write_photos(tmp_path, {"1": ["a cat"], "2": ["a dog"]})
    checkpoint = _checkpoint(told_share=0.5 if locates else 0.0)
    monkeypatch.setattr(training.evaluation, "load_checkpoint", lambda _: checkpoint)
    data = HeldOut(1, captions=tmp_path)
    scores = training.evaluation.evaluate_checkpoint(tmp_path, data, shuffled)
    assert [found.as_mapping()["data"] for found in scores] == wanted
