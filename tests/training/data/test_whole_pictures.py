"""What is drawn for training without a trace, and pictures as other cameras would take them."""

import json

import cv2
import numpy as np
import pytest
import torch

from tests.training.data.test_cutouts import _sample
from tests.training.data.tiny_sets import instances
from tests.training.tiny import tiny_model
from tracevlm_ros.core.answers import parse_trace
from tracevlm_ros.core.errors import ConfigError, InputError
from training.data.augment import degrade, mirror
from training.data.captioned_photos import CaptionedPhotos
from training.data.photos import InstancePhotos, Photo, PhotoConfig, Polygons, close_box
from training.data.stream import DataConfig, Stream
from training.data.templates import Task
from training.data.told import MAX_POINTS, tell
from training.losses import LossConfig
from training.model.config import tiny
from training.model.patch_heads import IGNORED
from training.steps import joint_terms
from training.tokenizer import load_tokenizer, prompt_layout


def _captions(folder, names=("one.png", "two.png"), written=("one.png",)):
    """captions/captions.json names photos of photos/images, as COCO files of several sets do."""
    for name in written:
        path = folder / "photos" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((40, 60, 3), 90, np.uint8))
    document = {
        "images": [
            {"id": number, "file_name": f"photos/images/{name}"}
            for number, name in enumerate(names)
        ],
        "annotations": [
            {"id": 10 * number + turn, "image_id": number, "caption": text}
            for number, _ in enumerate(names)
            for turn, text in enumerate(("A grey wall.", "  "))
        ],
    }
    file = folder / "captions" / "captions.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(document))
    return file.parent


def test_a_trace_is_told_of_what_only_one_object_is_called() -> None:
    sample = _sample(20, (4, 4, 28, 28), (36, 36, 60, 60))
    twice = sample._replace(instances=(*sample.instances, sample.instances[0]))
    for seed in range(12):
        exchange = tell(twice, np.random.default_rng(seed))
        assert exchange is not None
        assert exchange.task is Task.TRACE_FROM_CAPTION
        assert exchange.question == "trace of thing 1"
        points = parse_trace(exchange.answer).points * 64
        assert 1 <= len(points) <= MAX_POINTS
        assert np.all(np.median(points, axis=0) > 32)


def test_nothing_is_told_of_a_picture_without_a_name_of_its_own() -> None:
    sample = _sample(20, (4, 4, 28, 28))
    alike = sample._replace(instances=sample.instances * 2)
    assert tell(alike, np.random.default_rng(0)) is None


def test_captions_are_told_without_their_full_stop() -> None:
    sample = _sample(20)._replace(captions=("A grey wall.",))
    exchange = tell(sample, np.random.default_rng(0))
    assert exchange is not None
    assert exchange.task is Task.IMAGE_CAPTION
    assert exchange.answer == "A grey wall"


def test_captioned_photos_count_what_is_missing(tmp_path) -> None:
    photos = CaptionedPhotos(_captions(tmp_path), 64)
    assert photos.by_name == {"one.png": ("A grey wall.",)}
    assert photos.drops == {"caption_empty": 2, "photo_missing": 1}
    sample = photos.sample(np.random.default_rng(0))
    assert sample.image_rgb.shape == (64, 64, 3)
    assert sample.instances == ()
    assert sample.captions == ("A grey wall.",)


def test_captions_of_no_picture_are_one_clear_error(tmp_path) -> None:
    with pytest.raises(InputError, match="names no picture that is there"):
        CaptionedPhotos(_captions(tmp_path, written=()), 64)


def test_whole_photos_carry_their_captions_and_parts_do_not(tmp_path) -> None:
    folder = instances(tmp_path).parent
    names = {photo.path.name for photo in InstancePhotos(folder, 64, PhotoConfig()).photos}
    captioned = CaptionedPhotos(_captions(tmp_path / "words"), 64)
    captioned.by_name = dict.fromkeys(names, ("a cat",))
    rng = np.random.default_rng(0)
    whole = InstancePhotos(folder, 64, PhotoConfig(whole_share=1.0), captioned=captioned)
    assert whole.sample(rng).captions == ("a cat",)
    close = PhotoConfig(whole_share=0.0, close_share=0.0)
    assert InstancePhotos(folder, 64, close, captioned=captioned).sample(rng).captions == ()


def test_close_windows_hold_their_object_and_stay_on_the_photo(tmp_path) -> None:
    outline = np.array([[300.0, 100.0], [340.0, 100.0], [340.0, 130.0], [300.0, 130.0]])
    photo = Photo(tmp_path, (240, 400), (Polygons(1, "cat", (outline,), 1200.0),))
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(200):
        x0, y0, x1, y1 = close_box(photo, rng)
        assert 0 <= x0 <= 300 and 340 <= x1 <= 400
        assert 0 <= y0 <= 100 and 130 <= y1 <= 240
        sides.append(max(x1 - x0, y1 - y0))
    assert min(sides) < 60
    assert max(sides) > 140


def test_a_mirrored_picture_has_its_masks_mirrored() -> None:
    sample = _sample(20, (0, 10, 8, 40))
    flipped = mirror(sample)
    assert flipped.instances[0].mask[20].tolist() == [False] * 56 + [True] * 8
    assert (flipped.image_rgb[20, 56:] == 120).all()


def test_degraded_pictures_keep_their_form_and_some_stay_as_they_are() -> None:
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    found = [degrade(image, np.random.default_rng(seed)) for seed in range(60)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in found)
    same = [np.array_equal(one, image) for one in found]
    assert 20 < sum(same) < 60


def _stream(tokens: int = 0, share: float = 0.5) -> Stream:
    model, tokenizer = tiny(), load_tokenizer()
    config = DataConfig(images=4, traces_per_image=2, told_share=share, room_tokens=tokens)
    layout = prompt_layout(tokenizer, model.vision.merged_grid)
    return Stream(config, model, tokenizer, layout, 0)


def test_sequences_about_pictures_follow_those_about_traces() -> None:
    batch = _stream().joint(0)
    layout = prompt_layout(load_tokenizer(), 2)
    traced, told = len(batch.prompt.trace_index), len(batch.prompt.image_index)
    assert batch.prompt.image_index.tolist() == [0, 1]
    assert len(batch.prompt.ids) == len(batch.targets) == traced + told
    assert len(batch.codebook_columns) == traced
    assert not (batch.prompt.ids[traced:] == layout.traj_pad).any()
    assert (batch.prompt.slots[traced:] < 0).all()
    terms = joint_terms(tiny_model(), batch, LossConfig(), {})
    assert torch.isfinite(terms["told"])
    assert "told" not in joint_terms(tiny_model(), _stream(share=0.0).joint(0), LossConfig(), {})


def test_sequences_about_pictures_read_the_picture_and_no_trace() -> None:
    model, batch = tiny_model().eval(), _stream().joint(0)
    features = model.encode(batch.image)
    grounded = model.ground(features.tokens[batch.image_index], batch.trace)
    traced = len(batch.prompt.trace_index)
    before = model.read(grounded, batch.prompt, features.tokens)
    other = grounded._replace(enhanced=grounded.enhanced + 1.0, trace=grounded.trace + 1.0)
    after = model.read(other, batch.prompt, features.tokens)
    assert torch.equal(before[traced:], after[traced:])
    assert not torch.equal(before[:traced], after[:traced])
    moved = model.read(grounded, batch.prompt, features.tokens + 1.0)
    assert not torch.equal(before[traced:], moved[traced:])


def test_padded_batches_have_one_size_and_lose_nothing_that_fits() -> None:
    padded = [_stream(tokens=120).joint(step) for step in range(3)]
    assert {tuple(one.prompt.ids.shape[1:]) for one in padded} == {(120,)}
    assert len({tuple(one.trace.points.shape) for one in padded}) == 1
    free = _stream().joint(0)
    length = free.prompt.ids.shape[1]
    assert torch.equal(padded[0].prompt.ids[:, :length], free.prompt.ids)
    assert torch.equal(padded[0].targets[:, :length], free.targets)
    assert torch.equal(padded[0].codebook_columns, free.codebook_columns)


def test_what_is_longer_than_the_room_is_cut_and_still_learned_up_to_there() -> None:
    whole, cut = _stream().joint(0), _stream(tokens=40).joint(0)
    kept = whole.targets[:, :39] != IGNORED
    assert torch.equal(cut.targets[:, :39][kept], whole.targets[:, :39][kept])


def test_held_out_captions_are_refused_for_training(tmp_path) -> None:
    held_out = _captions(tmp_path).rename(tmp_path / "captions_dev")
    with pytest.raises(ConfigError, match="held out"):
        CaptionedPhotos(held_out, 64)


def test_photos_without_outlines_need_outlines_of_others() -> None:
    with pytest.raises(ConfigError, match="give both"):
        DataConfig(bare_share=0.2, captions="captions")


def test_bare_photos_get_objects_laid_over_them(tmp_path) -> None:
    model, tokenizer = tiny(), load_tokenizer()
    config = DataConfig(
        images=3,
        traces_per_image=1,
        photos=str(instances(tmp_path).parent),
        captions=str(_captions(tmp_path / "words")),
        photo_share=1.0,
        bare_share=1.0,
        told_share=1.0,
    )
    layout = prompt_layout(tokenizer, model.vision.merged_grid)
    batch = Stream(config, model, tokenizer, layout, 0).joint(0)
    assert (batch.masks.flatten(1).sum(1) > 0).all()
    assert len(batch.prompt.image_index) == 3
