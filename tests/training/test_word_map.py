"""The map of what a text describes: the network, its data, its stage."""

import numpy as np
import pytest
import torch

import training.evaluation
from tests.training.tiny import DATA, tiny_model, tiny_run, tiny_stream
from tracevlm_ros.core.strokes import stroke_in
from tracevlm_ros.synthetic import vocabulary
from training.checkpoint import Checkpoint, load_checkpoint, pack
from training.data.sample import Instance, Sample
from training.data.worded import token_rows, word_samples
from training.evaluation import HeldOut
from training.finding import find_described
from training.loop import CHECKPOINT_NAME, Trainer, freeze_for
from training.model.config import paper_mode, tiny
from training.model.tracevlm import TraceVLM
from training.steps import total, word_terms
from training.tokenizer import load_tokenizer
from training.trained_model import trained_model

WORDS = tiny().words


def random_maps(model: TraceVLM, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    vision = model.config.vision
    random = torch.Generator().manual_seed(0)
    grid = vision.grid
    deep = torch.randn(count, vision.width, grid, grid, generator=random)
    return deep, torch.randn(count, vision.shallow_width, 2 * grid, 2 * grid, generator=random)


def texts(*rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    ids, valid = token_rows(list(rows), WORDS.most_words)
    return torch.from_numpy(ids), torch.from_numpy(valid)


def test_one_picture_serves_all_its_texts() -> None:
    model = tiny_model().eval()
    deep, shallow = random_maps(model, 1)
    ids, valid = texts([5, 6, 7], [9])
    shared = model.word_map(deep, shallow, ids, valid)
    each = model.word_map(deep.expand(2, -1, -1, -1), shallow.expand(2, -1, -1, -1), ids, valid)
    assert shared.shape == (2, 2 * model.config.vision.grid, 2 * model.config.vision.grid)
    torch.testing.assert_close(shared, each)
    assert not torch.allclose(shared[0], shared[1])


def test_what_stands_behind_the_end_of_a_text_is_not_read() -> None:
    model = tiny_model().eval()
    maps = random_maps(model, 1)
    ids, valid = texts([5, 6, 7])
    other = ids.clone()
    other[0, 3:] = 99
    torch.testing.assert_close(
        model.word_map(*maps, ids, valid), model.word_map(*maps, other, valid)
    )
    short, short_valid = ids[:, :3], valid[:, :3]
    torch.testing.assert_close(
        model.word_map(*maps, ids, valid), model.word_map(*maps, short, short_valid)
    )


def test_the_order_of_words_is_read() -> None:
    model = tiny_model().eval()
    torch.nn.init.normal_(model.word_map.reader.places)
    maps = random_maps(model, 1)
    assert not torch.allclose(
        model.word_map(*maps, *texts([5, 6, 7])), model.word_map(*maps, *texts([7, 6, 5]))
    )


def test_the_papers_mode_has_no_map() -> None:
    assert TraceVLM(paper_mode(tiny())).word_map is None


def scene(*objects: tuple[str, str, str, str]) -> Sample:
    """Objects (size, texture, colour, shape) side by side, 4 pixels wide."""
    image = np.zeros((16, 16, 3), np.uint8)
    instances = []
    for number, (size, texture, colour, shape) in enumerate(objects):
        mask = np.zeros((16, 16), np.bool_)
        mask[:, 4 * number : 4 * number + 4] = True
        classes = {
            "size": vocabulary.SIZES.index(size),
            "texture": vocabulary.TEXTURES.index(texture),
            "colour": vocabulary.COLOURS.index(colour),
            "shape": 1 + vocabulary.SHAPES.index(shape),
        }
        instances.append(Instance(mask, classes, ((None, "unused"),)))
    return Sample(image, tuple(instances), background_known=True)


OBJECTS = (
    ("small", "plain", "red", "circle"),
    ("large", "plain", "red", "star"),
    ("large", "dotted", "blue", "star"),
)


def test_a_text_describes_every_object_that_has_what_it_says() -> None:
    samples = [scene(*OBJECTS), scene(("medium", "rough", "white", "heart"))]
    worded = word_samples(samples, 200, np.random.default_rng(0))
    assert len(worded) == 400
    for one in worded:
        words = set(one.text.split()) - {"a", "the", "thing"}
        objects = OBJECTS if one.image == 0 else (("medium", "rough", "white", "heart"),)
        described = [number for number, item in enumerate(objects) if words <= set(item)]
        shown = sorted({column // 4 for column in np.flatnonzero(one.mask.any(axis=0))})
        assert shown == described, one.text
    full = [one for one in worded if len(one.text.split()) == 5]
    nothing = [one for one in worded if not one.mask.any()]
    assert len(full) > 100
    assert 20 < len(nothing) < 80


def test_texts_are_padded_and_long_ones_cut() -> None:
    ids, valid = token_rows([[3, 4], list(range(40))], 5)
    assert ids.tolist() == [[3, 4, 0, 0, 0], [0, 1, 2, 3, 4]]
    assert valid.sum(axis=1).tolist() == [2, 5]


def test_the_map_learns_the_words_of_a_batch() -> None:
    batch = tiny_stream().words(0)
    model = tiny_model()
    freeze_for("words", model)
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    first = total(word_terms(model, batch)).item()
    for _ in range(60):
        optimiser.zero_grad()
        total(word_terms(model, batch)).backward()
        optimiser.step()
    assert total(word_terms(model, batch)).item() < 0.65 * first


def test_the_stage_trains_the_map_alone_and_tells_what_came_before(tmp_path) -> None:
    def quiet(_: str) -> None:
        """Nothing is said."""

    Trainer(tiny_run(steps=1), tmp_path / "joint", say=quiet).run()
    before = load_checkpoint(tmp_path / "joint" / CHECKPOINT_NAME)
    run = tiny_run(stage="words", steps=2)
    Trainer(run, tmp_path / "words", tmp_path / "joint" / CHECKPOINT_NAME, say=quiet).run()
    after = load_checkpoint(tmp_path / "words" / CHECKPOINT_NAME)
    moved = {
        name.split(".")[0]
        for name, value in after.weights.items()
        if not torch.equal(value, before.weights[name])
    }
    assert moved == {"word_map"}
    assert after.maps_words and after.locates and not before.maps_words
    assert [run["stage"] for run in after.earlier] == ["joint"]
    assert after.earlier[0]["steps"] == 1
    pack(after, tmp_path / "packed.safetensors")
    packed = load_checkpoint(tmp_path / "packed.safetensors")
    assert packed.maps_words and list(packed.earlier) == list(after.earlier)


def checkpoint(stage: str, model: TraceVLM) -> Checkpoint:
    config = tiny_run(stage=stage).as_mapping()
    return Checkpoint(config, 1, 1.0, model.state_dict(), [], torch.get_rng_state(), [])


def test_a_checkpoint_has_its_map_where_the_run_taught_it() -> None:
    model = tiny_model()
    assert trained_model(checkpoint("words", model)).word_map is not None
    assert trained_model(checkpoint("joint", model)).word_map is None
    model.word_map = None
    assert trained_model(checkpoint("joint", model)).word_map is None


def test_what_a_text_describes_is_found_where_the_map_shows_it() -> None:
    model = tiny_model().eval()
    side = model.config.vision.image_size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    torch.nn.init.constant_(model.word_map.answer.bias, -1e3)
    assert find_described(model, image, ["a red star"], load_tokenizer()) == [None]
    torch.nn.init.constant_(model.word_map.answer.bias, 1e3)
    (points,) = find_described(model, image, ["a red star"], load_tokenizer())
    assert points.shape[1] == 2 and ((points > 0) & (points < 1)).all()
    grid = 2 * model.config.vision.grid
    assert stroke_in(np.full((grid, grid), 1e3, np.float32)) is not None


@pytest.mark.parametrize(("shows", "inside"), [(1e3, True), (-1e3, False)])
def test_searches_are_scored_by_the_map(monkeypatch, shows, inside) -> None:
    model = tiny_model()
    torch.nn.init.constant_(model.word_map.answer.bias, shows)
    monkeypatch.setattr(
        training.evaluation, "load_checkpoint", lambda _: checkpoint("words", model)
    )
    scores = training.evaluation.evaluate_checkpoint("unused", HeldOut(3))
    (located,) = [s.as_mapping() for s in scores if s.as_mapping()["data"] == "located"]
    assert located["format_failures"] == 0.0
    assert (located["points_inside"] > 0) == inside


def test_batches_of_words_are_the_same_for_the_same_step() -> None:
    one, again = tiny_stream().words(3), tiny_stream().words(3)
    assert torch.equal(one.ids, again.ids) and torch.equal(one.masks, again.masks)
    assert one.ids.shape == (DATA.images * DATA.traces_per_image, WORDS.most_words)
