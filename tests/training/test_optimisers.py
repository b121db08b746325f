import torch

from tests.training.tiny import tiny_model
from training.loop import freeze_for
from training.optimisers import Optimisers
from training.settings import OptimiserConfig


def _names(model, member) -> set[str]:
    by_id = {id(p): name for name, p in model.named_parameters()}
    return {by_id[id(p)] for group in member.param_groups for p in group["params"]}


def test_every_trained_parameter_has_exactly_one_optimiser() -> None:
    model = tiny_model()
    freeze_for("joint", model)
    adam, muon = Optimisers(model, OptimiserConfig())._members
    first, second = _names(model, adam), _names(model, muon)
    assert not first & second
    everything = {name for name, _ in model.named_parameters()}
    assert first | second == {name for name in everything if not name.startswith("word_map.")}


def test_muon_takes_matrices_between_hidden_states_only() -> None:
    model = tiny_model()
    _, muon = Optimisers(model, OptimiserConfig())._members
    names = _names(model, muon)
    assert "visual.blocks.0.attn.qkv.weight" in names
    assert "model.layers.1.self_attn.q_proj.weight" in names
    assert "model.embed_tokens.weight" not in names
    assert not any("order" in name or "patch_embed" in name for name in names)


def test_vectors_do_not_decay() -> None:
    model = tiny_model()
    adam = Optimisers(model, OptimiserConfig(weight_decay=0.3))._members[0]
    decays = {group["weight_decay"]: group["params"] for group in adam.param_groups}
    assert all(p.dim() < 2 for p in decays[0.0])
    assert all(p.dim() >= 2 for p in decays[0.3])


def test_without_muon_adamw_takes_everything_that_trains() -> None:
    model = tiny_model()
    freeze_for("vision", model)
    members = Optimisers(model, OptimiserConfig(muon=False))._members
    assert len(members) == 1
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert _names(model, members[0]) == trained


def test_state_survives_a_round_trip() -> None:
    model = tiny_model()
    one = Optimisers(model, OptimiserConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    one.step(1e-3)
    two = Optimisers(model, OptimiserConfig())
    two.load_state_dict(one.state_dict())
    for a, b in zip(one.state_dict(), two.state_dict(), strict=True):
        for key, state in a["state"].items():
            for name, value in state.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(b["state"][key][name]))
