import dataclasses

import numpy as np
import pytest
import torch

from tests.training.tiny import random_traces, tiny_batch, tiny_model
from training.losses import LossConfig
from training.model.config import paper_mode, tiny
from training.model.tvp import squared_distance
from training.steps import joint_terms, total


@pytest.mark.parametrize("config", [paper_mode(tiny()), tiny()], ids=["paper", "options on"])
def test_with_gamma_zero_visual_tokens_leave_bit_for_bit(config) -> None:
    model = tiny_model(config)
    for block in model.tvp.blocks:
        torch.nn.init.zeros_(block.gamma)
    tokens = torch.randn(3, config.vision.merged_grid**2, config.language.width)
    grounded = model.ground(tokens, random_traces(3, 6, 4))
    assert torch.equal(grounded.enhanced, tokens)


def test_paper_mode_starts_gamma_at_zero_and_has_no_options() -> None:
    model = tiny_model(paper_mode(tiny()))
    assert all(not block.gamma.any() for block in model.tvp.blocks)
    names = {name.rsplit(".", 1)[-1] for name, _ in model.tvp.named_parameters()}
    assert not names & {"log_sigma", "near", "log_reach"}
    assert model.tvp.code_proj is None


def test_gamma_moves_from_zero_when_trained() -> None:
    model = tiny_model(paper_mode(tiny()))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    total(joint_terms(model, tiny_batch(), LossConfig(), {})).backward()
    optimiser.step()
    assert all(block.gamma.abs().max() > 0 for block in model.tvp.blocks)


def test_padded_keypoints_change_nothing() -> None:
    model = tiny_model()
    tokens = torch.randn(2, 4, 32)
    trace = random_traces(2, 6, 4)
    hidden = trace.valid == 0
    other = trace._replace(
        points=torch.where(hidden[..., None], 0.9, trace.points),
        dt_s=torch.where(hidden, 7.0, trace.dt_s),
    )
    one, two = model.ground(tokens, trace), model.ground(tokens, other)
    torch.testing.assert_close(one.enhanced, two.enhanced, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.trace, two.trace, rtol=0, atol=1e-6)
    assert not one.trace[:, 4:].any()


def test_enhanced_tokens_depend_on_where_the_trace_is() -> None:
    model = tiny_model()
    tokens = torch.randn(1, 4, 32)
    left = random_traces(1, 6, 2)
    left.points[..., 0] = 0.1
    right = left._replace(points=left.points + torch.tensor([0.8, 0.0]))
    assert not torch.allclose(
        model.ground(tokens, left).enhanced, model.ground(tokens, right).enhanced
    )


def test_distance_is_that_to_the_drawn_segment_and_to_points_after_a_lift() -> None:
    trace = random_traces(2, 5, 5, seed=3)
    centres = torch.rand(7, 2, generator=torch.Generator().manual_seed(1))
    found = squared_distance(centres, trace).sqrt().numpy()
    for t in range(2):
        for k in range(5):
            end = trace.points[t, k].numpy()
            lifted = k == 0 or trace.pen_up[t, k] > 0.5
            start = end if lifted else trace.points[t, k - 1].numpy()
            samples = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
            for n in range(7):
                wanted = np.linalg.norm(samples - centres[n].numpy(), axis=1).min()
                assert found[t, n, k] == pytest.approx(wanted, abs=2e-3)


def test_options_are_separate_switches() -> None:
    config = tiny()
    for name in ("distance_bias", "near_embedding", "position_codes"):
        one = dataclasses.replace(config, tvp=dataclasses.replace(config.tvp, **{name: False}))
        count = sum(p.numel() for p in tiny_model(one).parameters())
        assert count < sum(p.numel() for p in tiny_model(config).parameters())
