from pathlib import Path

import numpy as np
import pytest

from tests.training.data import tiny_sets
from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.readers.catalogue import form_of, open_reader
from training.data.readers.pictures import VideoFrame
from training.data.readers.records import Record, box_of
from training.data.readers.source import Reader
from training.data.readers.synthetic import Synthetic, SyntheticSource


def everything(reader: Reader) -> list[Record]:
    return [record for i in range(len(reader)) if (record := reader.read(i)) is not None]


def test_narratives_keep_words_points_and_lifts_and_count_what_is_bad(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.narratives(tmp_path))
    good, untimed, _broken = everything(reader)
    narrative = good.narratives[0]
    assert narrative.text == "A cat sleeps."
    assert [word.text for word in narrative.words] == ["A", "cat", "sleeps."]
    assert narrative.words[1].start_ns == 300_000_000
    assert len(narrative.trace.xy) == 9
    assert np.flatnonzero(narrative.trace.pen_up).tolist() == [5]
    assert narrative.trace.xy[:, 0].max() == pytest.approx(1.1)
    assert good.pictures[0].load().shape == (40, 60, 3)
    assert untimed.narratives[0].words == ()
    assert +reader.drops == {
        "narrative_malformed": 2,
        "narrative_empty": 1,
        "narrative_without_trace": 2,
        "point_without_place": 1,
        "picture_missing": 1,
        "narrative_held_out": 1,
        "narrative_without_word_times": 1,
    }


def test_damaged_pictures_are_one_clear_error_when_looked_at(tmp_path: Path) -> None:
    broken = everything(open_reader(tiny_sets.narratives(tmp_path)))[2]
    with pytest.raises(InputError, match=r"broken\.jpg"):
        broken.pictures[0].load()


def test_points_that_go_back_in_time_are_dropped_and_counted(tmp_path: Path) -> None:
    points = [{"x": 0.1, "y": 0.1, "t": t} for t in (0.0, 0.2, 0.1, 0.2, 0.3)]
    tiny_sets.write_picture(tmp_path / "one.jpg")
    path = tiny_sets.write_lines(
        tmp_path / "ln_train.jsonl", [tiny_sets.narrative_line(traces=[points])]
    )
    reader = open_reader(path)
    stamps = everything(reader)[0].narratives[0].trace.stamp_ns
    assert stamps.tolist() == [0, 200_000_000, 200_000_000, 300_000_000]
    assert reader.drops["point_out_of_order"] == 1


def test_coco_narratives_of_excluded_images_are_left_out(tmp_path: Path) -> None:
    tiny_sets.write_picture(tmp_path / "000000000139.jpg")
    line = tiny_sets.narrative_line(image="139", dataset_id="mscoco_train2017")
    path = tiny_sets.write_lines(tmp_path / "coco_train.jsonl", [line])
    assert len(everything(open_reader(path))) == 1
    reader = open_reader(path, excluded=frozenset({139}))
    assert everything(reader) == []
    assert reader.drops == {"image_excluded": 1}


def test_video_narratives_tie_points_to_the_keyframes_that_are_there(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.video_narratives(tmp_path))
    (record,) = everything(reader)
    assert len(record.pictures) == 2
    (narrative,) = record.narratives
    assert narrative.trace.picture.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.flatnonzero(narrative.trace.pen_up).tolist() == [3]
    assert narrative.trace.stamp_ns[0] == 100_000_000
    assert reader.drops["point_without_picture"] == 2
    assert reader.drops["keyframe_missing"] == 4
    assert reader.drops["picture_missing"] == 1
    assert reader.drops["narrative_empty"] == 1


def test_instances_are_drawn_and_unusable_annotations_counted(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.instances(tmp_path))
    (record,) = everything(reader)
    assert [region.key for region in record.regions] == ["coco/1", "coco/8", "coco/10"]
    masks = [region.shapes[0][1].mask((40, 60)) for region in record.regions]
    assert masks[0].sum() == 20 * 30
    assert masks[0][10:30, 10:40].all()
    assert masks[1][:, 0].all()
    assert masks[1].sum() == 40
    assert np.array_equal(masks[0], masks[2])
    assert reader.drops == {
        "annotation_without_image": 1,
        "polygon_malformed": 1,
        "annotation_crowd": 1,
        "annotation_unknown_category": 1,
        "polygon_outside_image": 2,
        "annotation_without_polygon": 1,
        "run_lengths_malformed": 1,
        "picture_missing": 1,
        "picture_without_annotation": 1,
    }


def test_captions_are_trimmed_and_empty_ones_counted(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.captions(tmp_path))
    (record,) = everything(reader)
    assert record.captions == ("A grey photo.",)
    assert reader.drops["caption_empty"] == 1


@pytest.mark.parametrize("as_pickle", [False, True])
def test_expressions_of_the_train_split_only_are_given(tmp_path: Path, as_pickle: bool) -> None:
    reader = open_reader(tiny_sets.refcoco(tmp_path, as_pickle=as_pickle))
    (record,) = everything(reader)
    (region,) = record.regions
    assert region.expressions == ("left cat", "the cat")
    assert region.category == "cat"
    assert reader.drops == {
        "expression_of_other_split": 2,
        "expression_empty": 1,
        "expression_without_annotation": 1,
    }


def test_grounded_phrases_name_segments_of_the_label_image(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.panoptic(tmp_path))
    (record,) = everything(reader)
    (caption,) = record.grounded
    phrases = [caption.text[phrase.start : phrase.end] for phrase in caption.phrases]
    assert phrases == ["A cat", "a wall"]
    cat = record.regions[caption.phrases[0].regions[0]]
    assert cat.category == "cat"
    mask = cat.shapes[0][1].mask((40, 60))
    assert mask[10:30, 10:40].all()
    assert mask.sum() == 600
    assert +reader.drops == {
        "phrase_without_segment": 1,
        "phrase_not_in_caption": 1,
        "narrative_without_phrase": 1,
        "annotation_without_image": 1,
        "narrative_malformed": 1,
    }


def test_davis_videos_follow_an_object_over_frames_with_labels(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.davis(tmp_path))
    (record,) = everything(reader)
    assert record.key == "davis/cow"
    assert len(record.pictures) == 2
    (region,) = record.regions
    assert [picture for picture, _ in region.shapes] == [0, 1]
    assert region.shapes[1][1].mask((40, 60))[5:15, 20:30].all()
    assert reader.drops == {
        "labels_damaged": 1,
        "frame_without_labels": 1,
        "video_without_object": 1,
    }


def test_an_image_set_chooses_the_videos_of_a_split(tmp_path: Path) -> None:
    folder = tiny_sets.davis(tmp_path).rename(tmp_path / "DAVIS")
    (folder / "ImageSets" / "2017").mkdir(parents=True)
    (folder / "ImageSets" / "2017" / "train.txt").write_text("empty\n")
    (folder / "ImageSets" / "2017" / "val.txt").write_text("cow\n")
    assert len(everything(open_reader(folder, split="val", training=False))) == 1
    assert everything(open_reader(folder, split="train")) == []


def test_hc_stvg_boxes_lie_on_their_frames(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.hc_stvg(tmp_path))
    one, old = everything(reader)
    assert one.captions == ("The man turns.",)
    first = one.pictures[0]
    assert isinstance(first, VideoFrame)
    assert [frame.number for frame in one.pictures if isinstance(frame, VideoFrame)] == [1, 2, 3, 4]
    assert abs(int(first.load().mean()) - 30) < 8
    assert one.regions[0].shapes[1][1].mask((40, 60))[10:30, 10:22].all()
    assert one.regions[0].shapes[1][1].mask((40, 60)).sum() == 20 * 12
    assert [picture for picture, _ in old.regions[0].shapes] == [1]
    assert reader.drops == {
        "box_outside_image": 1,
        "picture_missing": 1,
        "narrative_empty": 1,
        "annotation_malformed": 1,
    }


def test_dialogues_about_marked_objects_keep_their_marks(tmp_path: Path) -> None:
    reader = open_reader(tiny_sets.video_refer(tmp_path))
    marked, plain = everything(reader)
    (dialogue,) = marked.dialogues
    assert [turn.question for turn in dialogue.turns] == ["What does it do?", "Why?"]
    assert [picture for picture, _ in marked.regions[0].shapes] == [0, 1]
    assert marked.regions[0].shapes[0][1].mask((40, 60)).sum() == 400
    assert abs(int(marked.pictures[1].load().mean()) - 120) < 8
    assert plain.dialogues[0].regions == ()
    assert reader.drops == {
        "picture_missing": 1,
        "dialogue_empty": 1,
        "dialogue_without_region": 1,
        "annotation_without_polygon": 1,
        "annotation_malformed": 1,
    }


def test_synthetic_records_are_a_function_of_seed_and_index() -> None:
    source = SyntheticSource(count=4, seed=3, size_hw=(64, 96), clip_every=2, frames=2)
    one, two = Synthetic(source), Synthetic(source)
    for index in (3, 0):
        first, second = one.read(index), two.read(index)
        assert first is not None
        assert second is not None
        assert first.narratives[0].text == second.narratives[0].text
        assert np.array_equal(first.narratives[0].trace.xy, second.narratives[0].trace.xy)
        pictures = zip(first.pictures, second.pictures, strict=True)
        assert all(np.array_equal(a.load(), b.load()) for a, b in pictures)
    assert len(one.read(1).pictures) == 2  # type: ignore[union-attr]


def test_synthetic_traces_and_masks_agree() -> None:
    record = Synthetic(SyntheticSource(count=1, size_hw=(96, 96))).read(0)
    assert record is not None
    for narrative, region in zip(record.narratives, record.regions, strict=True):
        box = box_of(region.shapes[0][1].mask((96, 96)))
        assert box is not None
        middle = np.median(narrative.trace.xy, axis=0)
        assert (middle > np.array(box[:2]) - 0.05).all()
        assert (middle < np.array(box[2:]) + 0.05).all()


def test_synthetic_seeds_for_evaluation_are_refused_in_training() -> None:
    with pytest.raises(ConfigError, match="held out"):
        SyntheticSource(seed=1_000_000)
    assert Synthetic(SyntheticSource(seed=1_000_000, training=False)).split == "dev"


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (tiny_sets.narratives, "localized narratives"),
        (tiny_sets.video_narratives, "video localized narratives"),
        (tiny_sets.instances, "coco"),
        (tiny_sets.captions, "coco"),
        (tiny_sets.refcoco, "refcoco"),
        (tiny_sets.panoptic, "panoptic narrative grounding"),
        (tiny_sets.davis, "davis"),
        (tiny_sets.hc_stvg, "hc-stvg"),
        (tiny_sets.video_refer, "videorefer"),
    ],
)
def test_the_form_of_data_is_told_from_what_is_in_it(tmp_path: Path, make, form: str) -> None:
    assert form_of(make(tmp_path)) == form


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"a": 1}', "no json"])
def test_other_files_are_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "photos_train.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"photos_train\.json"):
        open_reader(path)
    with pytest.raises(InputError, match="does not exist"):
        open_reader(tmp_path / "gone.jsonl")
