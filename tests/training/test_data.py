import json

import cv2
import numpy as np
import pytest
import torch

from tests.training.tiny import instances_train, tiny_batch, tiny_model, tiny_stream
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.tokens import dequantise, quantise
from training.data.batch import patch_labels
from training.data.photos import InstancePhotos, PhotoConfig
from training.data.prompt_rows import Pointed, prompt_rows
from training.data.sample import Instance, Sample, TraceTarget
from training.data.traces import draw_trace, simplify_trace
from training.losses import LossConfig
from training.model.config import paper_mode, tiny
from training.model.patch_heads import IGNORED
from training.model.tracevlm import NO_SLOT
from training.steps import joint_terms
from training.tokenizer import encode_words, load_tokenizer, prompt_layout


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, two = tiny_stream(3).joint(5), tiny_stream(3).joint(5)
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.prompt.ids, two.prompt.ids)
    assert torch.equal(one.masks, two.masks)
    assert not torch.equal(one.image, tiny_stream(3).joint(6).image)
    assert not torch.equal(one.image, tiny_stream(4).joint(5).image)


def test_targets_are_the_answer_then_seg_then_the_codebook() -> None:
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, 2)
    batch = tiny_stream().joint(0)
    ids, targets = batch.prompt.ids, batch.targets
    for row in range(len(ids)):
        learned = torch.nonzero(targets[row] != IGNORED)[:, 0]
        assert torch.equal(targets[row][learned], ids[row][learned + 1])
        said = targets[row][learned].tolist()
        assert said[-7:] == [layout.seg, *layout.codebook]
        assert ids[row][learned[0]] == layout.answer
        book = batch.codebook_columns[row]
        assert ids[row][book].tolist() == list(layout.codebook)


def test_slots_are_the_placeholders_of_valid_keypoints() -> None:
    layout = prompt_layout(load_tokenizer(), 2)
    batch = tiny_stream().joint(1)
    for row, trace in enumerate(batch.prompt.trace_index.tolist()):
        placeholders = torch.nonzero(batch.prompt.ids[row] == layout.traj_pad)[:, 0].tolist()
        slots = batch.prompt.slots[row]
        assert torch.nonzero(slots != NO_SLOT)[:, 0].tolist() == placeholders
        assert slots[slots != NO_SLOT].tolist() == list(range(len(placeholders)))
        assert int(batch.trace.valid[trace].sum()) == len(placeholders)


def test_a_question_goes_into_the_prompt_and_is_not_learned() -> None:
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, 2)
    prompt = simplify_trace(
        TraceTarget(np.array([[1.0, 1.0, 0.0], [9.0, 9.0, 0.5]])), (16, 16), 1.0, 6
    )
    item = Pointed(0, 0, prompt, "what colour is it?", "red", np.zeros((4, 4), np.float32))
    found = prompt_rows([item], [], tokenizer, layout)
    question = encode_words(tokenizer, "what colour is it?")
    ids = found.prompt.ids[0].tolist()
    start = ids.index(layout.ask) + 1
    assert ids[start : start + len(question)] == question
    learned = found.targets[0][found.targets[0] != IGNORED].tolist()
    assert learned[:-7] == encode_words(tokenizer, "red")


def test_patches_carry_the_class_of_the_object_that_covers_them() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[:4, :4] = True
    mask[0, 4] = True
    item = Instance(mask, {"shape": 3, "colour": 1, "texture": 2, "size": 0}, ())
    image = np.zeros((8, 8, 3), np.uint8)
    labels = patch_labels(Sample(image, (item,), background_known=True), 2)
    assert labels["shape"].tolist() == [[3, 0], [0, 0]]
    assert labels["colour"].tolist() == [[1, IGNORED], [IGNORED, IGNORED]]
    unknown = patch_labels(Sample(image, (item,), background_known=False), 2)
    assert unknown["shape"].tolist() == [[3, IGNORED], [IGNORED, IGNORED]]


def test_simplified_points_are_quantised_and_never_cross_a_lifted_pen() -> None:
    raw = np.array([[i * 10.0, 0.0, i / 60] for i in range(5)])
    target = TraceTarget(np.concatenate([raw, raw + np.array([0.0, 30.0, 1.0])]), pen_up_at=5)
    prompt = simplify_trace(target, (64, 64), 1.0, 6)
    assert len(prompt.points) == 4
    assert prompt.pen_up.tolist() == [False, False, True, False]
    assert np.array_equal(prompt.points, dequantise(quantise(prompt.points)))
    assert prompt.dt_s.sum() == pytest.approx(target.raw[-1, 2] - target.raw[0, 2])


def test_too_many_keypoints_are_thinned_with_ends_and_lifts_kept() -> None:
    rng = np.random.default_rng(0)
    raw = np.column_stack([rng.uniform(0, 63, (80, 2)), np.arange(80) / 60])
    prompt = simplify_trace(TraceTarget(raw, pen_up_at=41), (64, 64), 1.0, 6)
    assert len(prompt.points) == 6
    assert prompt.pen_up.sum() == 1
    ends = dequantise(quantise((raw[[0, -1], :2] + 0.5) / 64))
    assert np.array_equal(prompt.points[[0, -1]], ends)


def test_drawn_traces_stay_near_their_object() -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[20:40, 24:44] = True
    for seed in range(10):
        raw = draw_trace(mask, np.random.default_rng(seed)).raw
        centre = np.median(raw[:, :2], axis=0)
        assert 14 < centre[0] < 54
        assert 10 < centre[1] < 50


def _write_photos(folder, annotations) -> None:
    (folder / "images").mkdir(parents=True)
    image = np.full((40, 60, 3), 90, np.uint8)
    cv2.imwrite(str(folder / "images" / "one.png"), image)
    document = {
        "images": [
            {"id": 1, "file_name": "one.png", "width": 60, "height": 40},
            {"id": 2, "file_name": "gone.png", "width": 60, "height": 40},
        ],
        "annotations": annotations,
        "categories": [{"id": 17, "name": "cat"}, {"id": 99, "name": "dragon"}],
    }
    (folder / "instances.json").write_text(json.dumps(document))


def _annotation(number: int, **changes: object) -> dict[str, object]:
    square = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]
    base = {"id": number, "image_id": 1, "category_id": 17, "segmentation": [square]}
    return {**base, "area": 600.0, "iscrowd": 0, **changes}


def test_unusable_annotations_are_counted_and_left_out(tmp_path) -> None:
    _write_photos(
        tmp_path / "photos",
        [
            _annotation(1),
            _annotation(2, segmentation=[[1.0, 1.0]]),
            _annotation(3, iscrowd=1),
            _annotation(4, category_id=99),
            _annotation(5, image_id=77),
            _annotation(6, image_id=2),
        ],
    )
    photos = InstancePhotos(tmp_path / "photos", 64, PhotoConfig())
    assert len(photos.photos) == 1
    assert [o.annotation_id for o in photos.photos[0].objects] == [1]
    assert photos.drops == {
        "annotation_without_polygon": 1,
        "annotation_crowd": 1,
        "annotation_unknown_category": 1,
        "annotation_without_image": 1,
        "photo_missing": 1,
    }
    whole = photos.whole(photos.photos[0])
    assert whole.instances[0].mask.mean() == pytest.approx(0.25, abs=0.03)
    assert whole.instances[0].answers[0] == (None, "a cat")


def test_held_out_folders_are_refused_for_training(tmp_path) -> None:
    _write_photos(tmp_path / "photos_dev", [_annotation(1)])
    with pytest.raises(ConfigError, match="held out"):
        InstancePhotos(tmp_path / "photos_dev", 64, PhotoConfig())


def test_a_folder_without_instances_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"instances\.json"):
        InstancePhotos(tmp_path, 64, PhotoConfig())


def test_real_photos_give_masks_that_match_their_pictures() -> None:
    folder = instances_train()
    if not folder.exists():
        pytest.skip(f"{folder} is absent: real photos are not part of the project")
    photos = InstancePhotos(folder, 64, PhotoConfig())
    for seed in range(3):
        sample = photos.sample(np.random.default_rng(seed))
        assert sample.image_rgb.shape == (64, 64, 3)
        assert all(0.003 < item.mask.mean() <= 1.0 for item in sample.instances)


def test_some_traces_come_without_words_and_only_their_masks_are_learned() -> None:
    batch = tiny_batch()
    traces, spoken = len(batch.image_index), batch.prompt.trace_index
    assert 0 < len(spoken) < traces
    assert len(batch.targets) == len(batch.codebook_columns) == len(spoken)
    model = tiny_model()
    seen: list[torch.Tensor] = []
    model.pixel_decoder.register_forward_pre_hook(lambda _, given: seen.append(given[4]))
    terms = joint_terms(model, batch, LossConfig(), {})
    silent = torch.ones(traces, dtype=torch.bool)
    silent[spoken] = False
    assert (seen[0][silent] == 0).all()
    assert (seen[0][spoken] != 0).any(dim=2).all()
    assert torch.isfinite(terms["text"])


def test_a_decoder_that_needs_words_is_given_them_for_every_trace() -> None:
    batch = tiny_stream(config=paper_mode(tiny())).joint(0)
    assert len(batch.prompt.trace_index) == len(batch.image_index)
