import json
from pathlib import Path

import cv2
import pytest

from tests.evaluation.scenes import box, write_bag
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.ground_truth import (
    Visit,
    find_sidecar,
    load_ground_truth,
    read_sidecar,
)
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.synthetic_bag import SyntheticBagConfig, write_synthetic_bag
from tracevlm_ros.synthetic.clip import ClipConfig


def write_sidecar(path: Path) -> Path:
    cv2.imwrite(str(path.parent / "000.png"), box(1, 2, 3, 4, 500))
    captions = [
        {"label": 500, "texts": ["a ball", "the ball"], "start_ns": 50, "end_ns": 90},
        {"label": 2, "text": "a box", "start_ns": 10, "end_ns": 40},
    ]
    path.write_text(json.dumps({"captions": captions, "masks": {"60": "000.png"}}))
    return path


def test_a_sidecar_gives_masks_and_captions(tmp_path: Path) -> None:
    truth = read_sidecar(write_sidecar(tmp_path / "x.json"))
    assert truth.visits[0] == Visit(500, ("a ball", "the ball"), 50, 90)
    assert truth.visits[1].texts == ("a box",)
    labels = truth.labels_at(60)
    assert labels is not None and (labels == box(1, 2, 3, 4, 500)).all()
    assert truth.labels_at(61) is None
    assert truth.missing == ()


def test_a_sidecar_is_found_beside_or_inside_the_bag_and_wins_over_topics(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "one")
    assert find_sidecar(bag) is None
    inside = write_sidecar(bag / "ground_truth.json")
    assert find_sidecar(bag) == inside
    beside = write_sidecar(tmp_path / "one.ground_truth.json")
    assert find_sidecar(bag) == beside
    with BagReader(bag) as reader:
        truth = load_ground_truth(reader)
    assert [visit.label for visit in truth.visits] == [2, 500]
    assert list(truth.mask_pngs) == [60]


@pytest.mark.parametrize("standard_types", [False, True])
def test_topics_of_the_bag_give_the_truth_in_both_forms(
    standard_types: bool, tmp_path: Path
) -> None:
    clip = ClipConfig(seed=5, seconds=2.0, rate_hz=10.0, height=96, width=128, objects=3)
    made = write_synthetic_bag(
        tmp_path / "bag", SyntheticBagConfig(clip=clip, standard_types=standard_types)
    )
    with BagReader(made.path) as reader:
        truth = load_ground_truth(reader)
    assert [(v.start_ns, v.end_ns) for v in truth.visits] == [
        (v.start_ns, v.end_ns) for v in made.visits
    ]
    assert [visit.texts[0] for visit in truth.visits] == list(made.captions)
    assert len(truth.mask_pngs) == made.frames
    labels = truth.labels_at(min(truth.mask_pngs))
    assert labels is not None and labels.shape == (96, 128)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"captions": [{"label": 1}]}', '{"masks": {"60": "absent.png"}}',
     '{"captions": [{"label": 1, "texts": [], "start_ns": 0, "end_ns": 1}]}'],
)  # fmt: skip
def test_a_bad_sidecar_is_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"bad\.json"):
        read_sidecar(path)
