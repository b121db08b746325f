import json

import cv2
import numpy as np
import pytest

from tests.training.tiny import tiny_model
from training import evaluation
from training.data.sample import Instance
from training.evaluation import evaluate_strokes, evaluate_synthetic
from training.generation import Answer, Described
from training.tokenizer import load_tokenizer, prompt_layout


def _parts():
    tokenizer = load_tokenizer()
    return tiny_model().eval(), tokenizer, prompt_layout(tokenizer, 2)


def _answer(text: str, mask: np.ndarray | None) -> Described:
    logits = None if mask is None else np.where(mask, 5.0, -5.0).astype(np.float32)
    return Described(Answer(text, (), None), logits)


def test_an_untrained_network_scores_nought_and_fails_the_format() -> None:
    scores = evaluate_synthetic(*_parts(), scenes=2)
    assert scores.traces >= 2
    assert scores.format_failures == 1.0
    assert scores.all_attributes == 0.0


def test_a_mask_is_scored_at_the_resolution_of_the_truth() -> None:
    truth = np.zeros((32, 48), np.bool_)
    truth[8:24, 12:36] = True
    small = np.zeros((16, 16), np.bool_)
    small[4:12, 4:8] = True
    judged = evaluation._judge(_answer("", small), truth)
    assert judged.iou == pytest.approx(0.5, abs=0.03)
    missing = evaluation._judge(_answer("", None), truth)
    assert (missing.failed, missing.iou) == (True, 0.0)


def test_each_attribute_counts_by_itself() -> None:
    classes = {"size": 0, "texture": 1, "colour": 0, "shape": 1}
    item = Instance(np.ones((2, 2), np.bool_), classes, ())
    right = evaluation._right_attributes
    assert right("a small striped red circle", item) == list(evaluation.ATTRIBUTES)
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
    monkeypatch.setattr(evaluation, "_describe", lambda *_: answers)
    scores = evaluate_strokes(*_parts(), tmp_path)
    assert scores.strokes == 2
    assert scores.mask_iou == pytest.approx(0.25 / 2, abs=0.01)
    assert scores.category_top1 == 0.5
    assert scores.category_top1_not_person == 1.0
    assert scores.format_failures == 0.5
    assert scores.per_category == {"cat": [1, 1], "person": [0, 1]}
