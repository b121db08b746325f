import json

import cv2
import numpy as np
import pytest

from tests.training.tiny import tiny_model
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.fovea import Window
from training.data.sample import Instance
from training.evaluation import Judge, evaluate_first_frames, evaluate_strokes, evaluate_synthetic
from training.evaluation.closer import OUTSIDE, look_closer, within
from training.evaluation.judging import judge, shuffle
from training.evaluation.synthetic import ATTRIBUTES, right_attributes
from training.generation import Answer, Described, StrokeMasks
from training.tokenizer import load_tokenizer, prompt_layout


def _judge() -> Judge:
    tokenizer = load_tokenizer()
    return Judge(tiny_model().eval(), tokenizer, prompt_layout(tokenizer, 2))


def _answer(text: str, mask: np.ndarray | None, of_stroke: np.ndarray | None = None) -> Described:
    stroke = _logits(np.ones((4, 4), np.bool_) if of_stroke is None else of_stroke)
    spoken = None if mask is None else _logits(mask)
    return Described(Answer(text, (), None), spoken, StrokeMasks(stroke, stroke))


def _logits(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 5.0, -5.0).astype(np.float32)


def test_an_untrained_network_scores_nought_and_fails_the_format() -> None:
    scores = evaluate_synthetic(_judge(), scenes=2)
    assert scores.traces >= 2
    assert scores.format_failures == 1.0
    assert scores.all_attributes == 0.0


def test_a_mask_is_scored_at_the_resolution_of_the_truth() -> None:
    truth = np.zeros((32, 48), np.bool_)
    truth[8:24, 12:36] = True
    small = np.zeros((16, 16), np.bool_)
    small[4:12, 4:8] = True
    judged = judge(_answer("", small), truth)
    assert judged.iou == pytest.approx(0.5, abs=0.03)
    missing = judge(_answer("", None), truth)
    assert (missing.failed, missing.iou) == (True, 0.0)
    assert missing.first == pytest.approx(truth.mean())


def test_each_attribute_counts_by_itself() -> None:
    classes = {"size": 0, "texture": 1, "colour": 0, "shape": 1}
    item = Instance(np.ones((2, 2), np.bool_), classes, ())
    right = right_attributes
    assert right("a small striped red circle", item) == list(ATTRIBUTES)
    assert right("a large striped red star", item) == ["texture", "colour"]
    assert right("a red circle", item) == []


def test_strokes_on_photos_are_scored_by_mask_and_category(tmp_path, monkeypatch) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "one.png"), np.zeros((40, 60, 3), np.uint8))
    outline = [[10, 10, 40, 10, 40, 30, 10, 30]]
    annotations = [
        {"id": number, "image_id": 1, "category_id": category, "segmentation": outline}
        for number, category in ((1, 17), (2, 1), (3, 1))
    ]
    document = {
        "images": [{"id": 1, "file_name": "one.png", "width": 60, "height": 40}],
        "categories": [{"id": 17, "name": "cat"}, {"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    (tmp_path / "instances.json").write_text(json.dumps(document))
    stroke = [[12, 12, 0.0], [30, 20, 0.2]]
    (tmp_path / "strokes.json").write_text(json.dumps({"1": stroke, "2": stroke}))
    everywhere = np.ones((4, 4), np.bool_)
    answers = [_answer("a cat", everywhere), _answer("a cat", None)]
    monkeypatch.setattr(Judge, "describe", lambda *_: answers)
    scores = evaluate_strokes(_judge(), tmp_path)
    assert scores.strokes == 2
    assert scores.masks.mask_iou == pytest.approx(0.25 / 2, abs=0.01)
    assert scores.masks.mask_iou_first == pytest.approx(0.25, abs=0.01)
    assert scores.category_top1 == 0.5
    assert scores.category_top1_not_person == 1.0
    assert scores.format_failures == 0.5
    assert scores.per_category == {"cat": [1, 1], "person": [0, 1]}


def test_first_frames_of_clips_are_scored_at_their_own_size(tmp_path, monkeypatch) -> None:
    for folder in ("JPEGImages/swan", "Annotations/swan"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "JPEGImages/swan/00003.jpg"), np.zeros((40, 60, 3), np.uint8))
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:] = 255
    cv2.imwrite(str(tmp_path / "Annotations/swan/00003.png"), truth)
    stroke = {"swan": {"frame": "00003", "stroke_xyt": [[40, 20, 0.0], [50, 22, 0.2]]}}
    (tmp_path / "strokes.json").write_text(json.dumps(stroke))
    right = np.zeros((4, 4), np.bool_)
    right[:, 2:] = True
    monkeypatch.setattr(Judge, "describe", lambda *_: [_answer("", right)])
    scores = evaluate_first_frames(_judge(), tmp_path)
    assert scores.per_clip["swan"] == pytest.approx(1.0)
    assert scores.as_mapping()["mask_iou_first"] == pytest.approx(0.5)


def test_a_shuffled_trace_keeps_its_points_and_loses_their_order() -> None:
    points = np.random.default_rng(1).random((6, 2))
    prompt = TracePrompt(points, np.arange(6.0), np.zeros(6, np.bool_))
    other = shuffle(prompt)
    assert sorted(map(tuple, other.points)) == sorted(map(tuple, points))
    assert not np.array_equal(other.points, points)
    assert not np.array_equal(other.dt_s, prompt.dt_s)
    np.testing.assert_array_equal(shuffle(prompt).points, other.points)


def test_a_network_that_is_shown_its_own_mask_can_answer_otherwise() -> None:
    judging = _judge()
    prompt = TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, np.bool_))
    picture = np.random.default_rng(2).integers(0, 256, (judging.side,) * 2 + (3,), np.uint8)
    [described] = judging.describe(picture, [prompt])
    first, second = described.of_stroke
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_a_closer_look_marks_only_what_its_window_shows() -> None:
    judging = _judge()
    picture = np.random.default_rng(3).integers(0, 256, (240, 400, 3), np.uint8)
    points = np.array([[0.12, 0.2], [0.16, 0.25]])
    prompt = TracePrompt(points, np.array([0.0, 0.1]), np.zeros(2, np.bool_))
    logits = look_closer(judging, picture, prompt)
    assert logits.shape == (240, 400)
    assert (logits[:, 300:] == OUTSIDE).all()
    assert not (logits[20:100, 20:100] == OUTSIDE).any()


def test_keypoints_move_into_the_window() -> None:
    window = Window(100, 50, 200, 100, (240, 400))
    points = np.array([[0.25, 50 / 240], [0.75, 150 / 240], [0.5, 100 / 240]])
    prompt = TracePrompt(points, np.zeros(3), np.zeros(3, np.bool_))
    np.testing.assert_allclose(
        within(prompt, window).points, [[0, 0], [1, 1], [0.5, 0.5]], atol=1.1e-3
    )
