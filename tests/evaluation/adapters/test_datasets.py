"""Each data set as recordings."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.adapters.tiny_sets import (
    SQUARE,
    photo,
    square_mask,
    stroke,
    write_davis,
    write_hc_stvg,
    write_instances,
    write_json,
    write_narratives,
    write_refcoco,
    write_video,
    write_video_narratives,
    write_videorefer,
)
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.adapters.datasets import dataset_cases
from tracevlm_ros.evaluation.adapters.narratives import read_drawn_pictures, word_boxes


def test_a_davis_clip_has_truth_on_every_frame_but_the_first_and_the_last(tmp_path: Path) -> None:
    (case,) = dataset_cases("davis", write_davis(tmp_path))
    frames = [sample for sample in case.samples() if isinstance(sample, Frame)]
    assert len(frames) == 7
    assert sorted(case.truth.mask_pngs) == [frame.stamp_ns for frame in frames[2:-1]]
    labels = case.truth.labels_at(frames[2].stamp_ns)
    assert labels is not None
    assert (labels.astype(bool) == square_mask(1)).all()


def test_a_clip_without_all_of_its_masks_is_refused_by_name(tmp_path: Path) -> None:
    write_davis(tmp_path)
    (tmp_path / "Annotations/slide/00002.png").unlink()
    with pytest.raises(InputError, match=r"'slide'.*lacks 1 masks"):
        next(dataset_cases("davis", tmp_path))


def test_an_instance_has_its_outline_as_truth_and_its_category_as_reference(tmp_path: Path) -> None:
    (case,) = dataset_cases("coco-instances", write_instances(tmp_path))
    assert [visit.texts for visit in case.truth.visits] == [("stop sign",)]
    (stamp,) = case.truth.mask_pngs
    labels = case.truth.labels_at(stamp)
    assert labels is not None
    wrong = np.count_nonzero(labels.astype(bool) ^ square_mask())
    assert wrong <= 2 * (SQUARE[2] - SQUARE[0])


def test_regions_of_refcoco_give_words_of_the_split_and_no_mask_to_score(tmp_path: Path) -> None:
    (case,) = dataset_cases("refcoco", write_refcoco(tmp_path))
    assert case.truth.mask_pngs == {}
    assert case.truth.visits[0].texts == ("red square", "the square")
    places = [(s.x_px, s.y_px) for s in case.samples() if isinstance(s, GazeSample)]
    inside = [SQUARE[0] - 3 <= x <= SQUARE[2] + 3 for x, _ in places]
    assert all(inside)
    again = [(s.x_px, s.y_px) for s in case.samples() if isinstance(s, GazeSample)]
    assert places == again


def test_narratives_keep_the_times_of_their_strokes(tmp_path: Path) -> None:
    cases = list(dataset_cases("localized-narratives", write_narratives(tmp_path)))
    assert [case.truth.visits[0].texts for case in cases] == [
        ("a red square",),
        ("a sign on a dark wall",),
    ]
    pen = [s for s in cases[0].samples() if isinstance(s, GazeSample)]
    drawn_s = (pen[-2].stamp_ns - pen[0].stamp_ns) / 1e9
    assert drawn_s == pytest.approx(stroke()[-1][2], abs=1e-6)


def test_a_narrative_of_a_video_is_one_recording_for_each_keyframe_that_was_drawn_on(
    tmp_path: Path,
) -> None:
    folder = write_video_narratives(tmp_path)
    cases = list(dataset_cases("video-localized-narratives", folder))
    assert [case.name for case in cases] == ["00000_v_00", "00000_v_07", "00001_v_07"]
    texts = [case.truth.visits[0].texts for case in cases]
    assert texts == [("a red square slides",)] * 2 + [("the wall stands still",)]
    for case, index in zip(cases, (0, 1, 1), strict=True):
        samples = list(case.samples())
        pen = [sample for sample in samples if isinstance(sample, GazeSample)]
        assert len(pen) == len(stroke()) + 1
        image = next(sample.image_rgb for sample in samples if isinstance(sample, Frame))
        assert (image == photo(index)).all()


@pytest.mark.parametrize("name", ["localized-narratives", "video-localized-narratives"])
def test_a_folder_without_narratives_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.jsonl file"):
        list(dataset_cases(name, tmp_path))


def test_word_boxes_hold_the_points_of_each_word(tmp_path: Path) -> None:
    write_narratives(tmp_path)
    item = read_drawn_pictures(tmp_path / "ln.jsonl", tmp_path / "frames")[0]
    boxes = word_boxes(item.narrative)
    points = [(x / 64, y / 48) for x, y, t in stroke() if 0.2 <= t < 0.4]
    expected = [*np.min(points, axis=0), *np.max(points, axis=0)]
    assert boxes[1] == pytest.approx(expected)


def test_a_narrative_without_its_picture_is_refused_by_name(tmp_path: Path) -> None:
    write_narratives(tmp_path)
    (tmp_path / "frames/tiny/b.png").unlink()
    with pytest.raises(InputError, match="tiny/b"):
        list(dataset_cases("localized-narratives", tmp_path))


def test_videorefer_starts_at_the_first_frame_that_has_the_mask(tmp_path: Path) -> None:
    (case,) = dataset_cases("videorefer", write_videorefer(tmp_path))
    frames = [sample for sample in case.samples() if isinstance(sample, Frame)]
    assert len(frames) == 1 + 4
    assert case.truth.visits[0].texts == ("a red square rests",)


def test_hc_stvg_points_into_the_given_box(tmp_path: Path) -> None:
    (case,) = dataset_cases("hc-stvg", write_hc_stvg(tmp_path))
    assert case.name == "w"
    assert case.truth.visits[0].texts == ("The man sits.",)
    pen = [sample for sample in case.samples() if isinstance(sample, GazeSample)]
    assert all(14 <= sample.x_px <= 50 for sample in pen)


def test_an_entry_that_lacks_something_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "test.json", {"w.mp4": {"st_frame": 1}})
    with pytest.raises(InputError, match=r"w\.mp4.*caption"):
        next(dataset_cases("hc-stvg", tmp_path))


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refcoco"):
        dataset_cases("imagenet", tmp_path)


def test_a_video_that_ends_before_the_region_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "videos/w.mp4", frames=3)
    entry = {"bbox": [[1, 1, 9, 9]], "st_frame": 50, "caption": "x"}
    (tmp_path / "test.json").write_text(json.dumps({"w.mp4": entry}), encoding="utf-8")
    with pytest.raises(InputError, match="ends before frame 50"):
        next(dataset_cases("hc-stvg", tmp_path))
