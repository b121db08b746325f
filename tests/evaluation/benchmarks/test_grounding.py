"""Panoptic Narrative Grounding on one photo, with the fake engine, which finds colours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tests.evaluation.adapters.tiny_sets import (
    PHOTO_HW,
    SQUARE,
    photo,
    save,
    square_mask,
    write_json,
)
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import EngineMismatch, InputError
from tracevlm_ros.evaluation.adapters.panoptic_narratives import read_grounded_narratives
from tracevlm_ros.evaluation.benchmarks.grounding import benchmark_grounding

NUMBER = "000000000042"
RED, WALL, OTHER = 7, 300, 70_000
"""Segments: the red square, the dark wall round it, and a strip that nobody speaks of."""


def part(text: str, ids: list[int], *, plural: bool = False, noun: bool = True) -> dict[str, Any]:
    return {
        "utterance": text,
        "segment_ids": [str(one) for one in ids],
        "plural": plural,
        "noun": noun,
    }


def write_png(folder: Path, parts: list[dict[str, Any]]) -> Path:
    ids = np.where(square_mask(), RED, WALL)
    ids[-4:] = OTHER
    save(folder / f"images/val2017/{NUMBER}.jpg", photo())
    coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    save(folder / f"annotations/panoptic_segmentation/val2017/{NUMBER}.png", coded)
    segments = [{"id": one, "category_id": kind} for one, kind in ((RED, 1), (WALL, 2), (OTHER, 2))]
    write_json(
        folder / "annotations/panoptic_val2017.json",
        {
            "categories": [{"id": 1, "isthing": 1}, {"id": 2, "isthing": 0}],
            "annotations": [{"image_id": 42, "segments_info": segments}],
        },
    )
    narrative = {"image_id": "42", "caption": "...", "segments": parts}
    write_json(folder / "annotations/png_coco_val2017.json", [narrative])
    return folder


PARTS = [
    part("there is ", [], noun=False),
    part("a red square ", [RED]),
    part("in front of ", [RED], noun=False),
    part("black walls ", [WALL, OTHER], plural=True),
    part("and a cat", [WALL]),
    part("somewhere", []),
]


def test_phrases_with_segments_are_read_with_their_kind_and_number(tmp_path: Path) -> None:
    (narrative,) = read_grounded_narratives(write_png(tmp_path, PARTS))
    assert [phrase.text for phrase in narrative.phrases] == [
        "a red square", "black walls", "and a cat"
    ]  # fmt: skip
    assert [phrase.is_thing for phrase in narrative.phrases] == [True, False, False]
    assert [phrase.is_plural for phrase in narrative.phrases] == [False, True, False]
    ids = narrative.ids()
    assert ids.shape == PHOTO_HW
    assert ids[SQUARE[1], SQUARE[0]] == RED and ids[-1, 0] == OTHER and ids[0, 0] == WALL


def test_recall_is_told_of_all_phrases_and_of_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "grounding", "--model", "fake", "--data", str(write_png(tmp_path, PARTS))]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["phrases"], result["found"]) == (3, 2), "the fake engine knows no cat"
    groups = result["groups"]
    assert set(groups) == {"all", "things", "stuff", "singulars", "plurals"}
    assert groups["things"]["average_recall"] > 0.9
    assert groups["plurals"]["average_recall"] > 0.9
    assert groups["stuff"]["recall_over_iou"][1] == 0.5, "what is not found has IoU 0"
    assert groups["all"]["phrases"] == 3
    assert main(words) == 0
    assert "average recall" in capsys.readouterr().out


def test_a_model_that_cannot_locate_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narratives = read_grounded_narratives(write_png(tmp_path, PARTS))
    engine = FakeEngine()
    monkeypatch.setattr(FakeEngine, "info", engine.info._replace(locates=False))
    with pytest.raises(EngineMismatch, match="has not learned to locate"):
        benchmark_grounding(narratives, engine)


def test_a_segment_that_the_photo_does_not_have_is_told(tmp_path: Path) -> None:
    folder = write_png(tmp_path, [part("a red square", [RED + 1])])
    with pytest.raises(InputError, match="narrative 0: KeyError"):
        read_grounded_narratives(folder)
    with pytest.raises(InputError, match="train2017"):
        read_grounded_narratives(folder, "train2017")
