"""Packed Qwen rows against the network's own reading of one sequence."""

import shutil
from functools import lru_cache

import numpy as np
import pytest
import torch

from tests.training.stages.runs import tiny_stage, train
from tests.training.tiny_qwen import released_model
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from training.data.naming import open_set
from training.data.packed_batch import packed_mask
from training.data.packed_stream import Row, Sample
from training.data.packing import PackConfig
from training.data.qwen_sequences import REQUESTS, SECONDS_PER_PICTURE
from training.data.templates import Task
from training.data.trees import build_tree
from training.model.qwen.network import Spoken, valid_keypoints
from training.model.qwen.patches import prepare
from training.model.qwen.prompt import Clip, Picture, TraceSlots, chat
from training.stages.building import build, tiny_qwen, tree_plan
from training.tokenizer import TOKENIZER_PATH


@lru_cache(maxsize=1)
def stage():
    built = build(tiny_stage(model="tiny-qwen", max_pixels=56 * 84)).stage.eval()
    with torch.no_grad():
        for parameter in (*built.network.tvp.parameters(), built.network.trace_gate):
            parameter.normal_(0.0, 0.3)
    return built


def samples(index: int) -> list[Sample]:
    """One of each task; record 3 is a clip."""
    record = open_set("synthetic:0:4", 64).read(index)
    config = stage().tree_config(tree_plan(tiny_stage()))
    tree = build_tree(record, config, np.random.default_rng(1), Drops())
    size = tree.images[0].shape[:2]
    found = {}
    for number, branch in enumerate(tree.branches):
        sequence = stage().encoder.encode(branch, len(tree.images), size)
        found[branch.task] = Sample(index, number, tree, branch, sequence)
    return list(found.values())


@torch.no_grad()
def hidden_of(rows: list[list[Sample]]) -> torch.Tensor:
    length = max(sum(len(s.sequence.ids) for s in row) for row in rows) + 3
    batch = stage().collate([Row(tuple(row), {}) for row in rows], length)
    tokens = stage().tokens(batch)
    seen = stage().see(batch)
    mask = packed_mask(tokens.segment_ids)
    return stage().language(seen.x, tokens.position_ids, mask=mask).hidden


@pytest.mark.parametrize("index", [0, 3], ids=["still", "clip"])
def test_a_packed_sample_is_read_as_the_network_reads_it_alone(index: int) -> None:
    row = [*samples(index), *samples(1)[:2]]
    packed = hidden_of([row])[0]
    network, start, compared = stage().network, 0, set()
    for sample in row:
        part = packed[start : start + len(sample.sequence.ids)]
        start += len(part)
        exchange = sample.branch.exchanges[0]
        pictures = torch.from_numpy(np.stack(sample.images)).repeat_interleave(2, dim=0)
        patches = prepare(pictures, network.config.vision, 1, 1 << 20)
        trace = sample.branch.trace
        batch = stage().collate([Row((sample,), {})], len(sample.sequence.ids))
        views = batch.media[0].trace
        with torch.no_grad():
            encoded = network.encode([patches])[0]
            grounded = network.ground(encoded, views, torch.arange(encoded.grid.steps))
            medium = (
                Picture(encoded.grid)
                if encoded.grid.steps == 1
                else Clip(encoded.grid, SECONDS_PER_PICTURE)
            )
            request = " ".join(p for p in (REQUESTS[exchange.task], exchange.question) if p)
            slots = None if trace is None else TraceSlots(len(trace.points))
            prompt = chat(
                network.config, stage().encoder._encode, [medium], request, slots
            )  # fmt: skip
            keypoints = None if trace is None else valid_keypoints(grounded, views.valid)
            alone = network.read([Spoken(prompt, grounded.enhanced.flatten(0, 1), keypoints)])[0]
        assert torch.allclose(part[: len(alone)], alone, atol=2e-4), exchange.task
        compared.add(exchange.task)
    wanted = {Task.TRACE_CAPTION, Task.ASK, Task.SEGMENT}
    assert wanted <= compared


def test_samples_of_a_row_do_not_see_each_other() -> None:
    row = samples(0)
    whole = hidden_of([row])[0]
    other = row[-1]._replace(
        sequence=row[-1].sequence._replace(ids=np.flip(row[-1].sequence.ids).copy())
    )
    changed = hidden_of([[*row[:-1], other]])[0]
    end = sum(len(sample.sequence.ids) for sample in row[:-1])
    assert torch.equal(whole[:end], changed[:end])
    assert not torch.equal(whole[end:], changed[end:])


def test_masks_have_the_shape_of_their_pictures_and_clips_have_one_each() -> None:
    still, clip = samples(0), samples(3)
    rows = [[s for s in part if s.branch.task is Task.SEGMENT] for part in (still, clip)]
    batch = stage().collate([Row(tuple(row), {}) for row in rows], 800)
    assert len(batch.media) == 2
    assert len(batch.media[1].masks) == len(rows[1][0].images) > 1
    with torch.no_grad():
        terms = stage()(batch)
    assert stage().counts(batch).masks == sum(len(medium.masks) for medium in batch.media)
    assert terms["ref"].isfinite()
    assert terms["dice"] > 0
    rows_, columns = batch.media[0].patches.grid[1:]
    assert batch.media[0].masks.shape[1:] == (4 * rows_, 4 * columns)


def test_pictures_keep_their_shape_within_the_pixels_allowed() -> None:
    from training.data.messages import TreeConfig
    from training.data.trees import model_size

    config = TreeConfig(max_pixels=448 * 448, multiple=28)
    height, width = model_size((1080, 1920), config)
    assert (height % 28, width % 28) == (0, 0)
    assert height * width <= 448 * 448
    assert width / height == pytest.approx(16 / 9, rel=0.1)
    assert model_size((1080, 1920), TreeConfig(image_size=64)) == (64, 64)


@pytest.mark.parametrize("weights", ["fp32", "bf16"])
def test_a_stage_starts_from_a_local_folder_of_released_form(tmp_path, weights) -> None:
    folder = tmp_path / "model"
    released_model(tiny_qwen()).save_pretrained(folder, safe_serialization=True)
    shutil.copy(TOKENIZER_PATH, folder / "tokenizer.json")
    config = tiny_stage(
        model="tiny-qwen", backbone=str(folder), stage="1", weights=weights, precision="bf16",
        packing=PackConfig(length=256), steps=1,
    )  # fmt: skip
    before = build(config).stage.network
    after = train(config, tmp_path / "run").stage.network
    kind = torch.bfloat16 if weights == "bf16" else torch.float32
    assert after.model.language_model.layers[0].mlp.up_proj.weight.dtype is kind
    assert after.trace_gate.dtype is torch.float32
    same = torch.equal(before.model.visual.blocks[0].attn.qkv.weight,
                       after.model.visual.blocks[0].attn.qkv.weight)  # fmt: skip
    assert same
    assert not torch.equal(before.tvp.blocks[0].gamma, after.tvp.blocks[0].gamma)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer\.json cannot be read"):
        build(config)
