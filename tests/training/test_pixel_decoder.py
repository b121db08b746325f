import dataclasses

import torch

from tests.training.tiny import random_traces, tiny_model
from training.model.config import paper_mode, tiny
from training.model.tracevlm import TraceVLM

UNSPOKEN = torch.zeros(2, 6, 32)


def _masks(
    model: TraceVLM, prior: torch.Tensor | None = None, spoken: torch.Tensor = UNSPOKEN
) -> torch.Tensor:
    model.eval()
    trace = random_traces(2, 6, 4)
    with torch.no_grad():
        ramp = torch.arange(64 * 64 * 3) * 7919 % 256
        features = model.encode(ramp.reshape(1, 64, 64, 3).to(torch.uint8))
        grounded = model.ground(features.tokens.expand(2, -1, -1), trace)
        return model.segment(features, torch.tensor([0, 0]), grounded, trace, spoken, prior)


def test_the_mask_of_a_moment_ago_changes_the_mask_and_none_is_a_plane_of_zeros() -> None:
    model = tiny_model()
    without = _masks(model)
    assert without.shape == (2, 16, 16)
    assert torch.equal(_masks(model, torch.zeros(2, 8, 8)), without)
    assert not torch.equal(_masks(model, torch.ones(2, 8, 8)), without)


def test_a_mask_is_there_before_a_word_is_said_and_words_change_it() -> None:
    model = tiny_model()
    assert torch.isfinite(_masks(model)).all()
    assert not torch.equal(_masks(model, spoken=torch.randn(2, 6, 32)), _masks(model))


def test_the_papers_decoder_looks_at_no_prior_and_at_no_stroke() -> None:
    model = tiny_model(paper_mode(tiny()))
    names = {name for name, _ in model.pixel_decoder.named_parameters()}
    assert not any(
        part in name for name in names for part in ("cue", "before", "after", "unspoken")
    )
    assert torch.equal(_masks(model, torch.ones(2, 8, 8)), _masks(model))


def test_details_of_stride_four_reach_the_mask() -> None:
    config = tiny()
    plain = dataclasses.replace(config.vision, detail_channels=0)
    assert config.vision.shallow_width == plain.shallow_width + 4 * config.vision.detail_channels
    model = tiny_model()
    shown = _masks(model)
    assert model.visual.detail is not None
    torch.nn.init.zeros_(model.visual.detail.weight)
    assert not torch.equal(_masks(model), shown)
