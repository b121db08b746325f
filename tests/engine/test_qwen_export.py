"""A tiny Qwen network as the contract's graphs, chained by hand."""

import dataclasses

import pytest
import torch

from engine.export.qwen_graphs import (
    keypoint_rows,
    qwen_graph,
    still_grid,
)
from tests.training.tiny import random_traces
from tests.training.tiny_qwen import TOKENS, tiny_config
from tracevlm_ros.core.errors import EngineMismatch
from training.model.qwen.layout import Grid
from training.model.qwen.network import Spoken, TraceQwen
from training.model.qwen.patches import cut_patches
from training.model.qwen.prompt import Picture, TraceSlots, lay_out
from training.model.vision import normalise

SIZE = (84, 140)
GRID = Grid(1, 6, 10)


def _model(fused: bool = False) -> TraceQwen:
    """One windowed and one full block, one language layer: exporting takes seconds a layer."""
    torch.manual_seed(0)
    config = tiny_config(fused=fused)
    config = dataclasses.replace(
        config,
        vision=dataclasses.replace(
            config.vision, depth=2, full_attention_blocks=(1,), shallow_block=0
        ),
        language=dataclasses.replace(config.language, depth=1),
    )
    model = TraceQwen(config).eval()
    for block in model.tvp.blocks:
        torch.nn.init.constant_(block.gamma, 0.5)
    torch.nn.init.constant_(model.trace_gate, 0.3)
    return model


@torch.no_grad()
def test_the_graphs_chained_by_a_host_equal_the_network() -> None:
    model = _model()
    picture = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    trace = random_traces(1, 6, 4)
    tokens, deep, shallow = qwen_graph("vision", model, GRID)(picture)
    enhanced, features = qwen_graph("tvp", model, GRID)(tokens, *trace)
    prompt = lay_out([Picture(GRID), TraceSlots(4)], model.config)
    rows = model.embed(torch.from_numpy(prompt.ids))
    rows[torch.from_numpy(prompt.visual_columns)] = enhanced[0]
    rows[torch.from_numpy(prompt.trace_columns)] = keypoint_rows(model, features[0, :4])
    places = torch.from_numpy(prompt.position_ids)[:, None]
    hidden = qwen_graph("prefill", model, GRID)(rows[None], places)[1]
    seg = torch.randn(1, 6, 64)
    stroke = (trace.points, trace.pen_up, trace.valid)
    prior = torch.rand(1, *shallow.shape[-2:])
    masks = qwen_graph("mask", model, GRID)(deep, shallow, enhanced, features, *stroke, prior, seg)

    frame = torch.zeros(1, dtype=torch.int64)
    encoded = model.encode([cut_patches(normalise(picture), model.config.vision)])[0]
    grounded = model.ground(encoded, trace, frame)
    spoken = Spoken(prompt, grounded.enhanced[0], grounded.trace[0, :4])
    torch.testing.assert_close(hidden[:, 0], model.read([spoken])[:, -1], rtol=0, atol=1e-5)
    wanted = model.segment(encoded, frame, grounded, trace, seg, prior)
    torch.testing.assert_close(masks, wanted, rtol=0, atol=1e-5)
    assert prompt.ids[prompt.trace_columns[0]] == TOKENS.traj_pad


def test_what_cannot_be_exported_is_refused() -> None:
    with pytest.raises(EngineMismatch, match="fused_attention"):
        qwen_graph("prefill", _model(fused=True), GRID)
    with pytest.raises(EngineMismatch, match="graph 'depth'"):
        qwen_graph("depth", _model(), GRID)
    with pytest.raises(EngineMismatch, match=r"84 x 100.*multiples of 28"):
        still_grid(tiny_config(), 84, 100)
    assert still_grid(tiny_config(), *SIZE) == GRID
