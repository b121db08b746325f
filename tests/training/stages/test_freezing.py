"""What each stage trains, counted independently of the table that freezes."""

import pytest
import torch

from tests.training.stages.runs import differing, tiny_stage, train, weights_in
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.tokens import special_tokens
from training.stages.building import build
from training.stages.freezing import freeze
from training.stages.trainer import freeze_stage

NEW_QWEN_TOKENS = 10


def _numbers(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def _counted(model: str, stage: str, **changes: object) -> tuple[int, torch.nn.Module]:
    config = tiny_stage(model=model, stage=stage, **changes)
    built = build(config)
    return freeze_stage(config, built).total, built.stage.network


def test_nano_stages_train_what_the_method_says() -> None:
    total, network = _counted("tiny", "1")
    width = network.config.language.width
    assert total == _numbers(network.tvp) + len(special_tokens()) * width
    total, network = _counted("tiny", "1.5")
    everything = (network.visual, network.tvp, network.model, network.pixel_decoder)
    assert total == _numbers(*everything)
    total, network = _counted("tiny", "2")
    assert total == _numbers(network.model)
    total, network = _counted("tiny", "2", train_tvp=True)
    assert total == _numbers(network.model, network.tvp)


def test_qwen_stages_train_what_the_method_says() -> None:
    total, network = _counted("tiny-qwen", "1")
    width = network.config.language.width
    grafted = _numbers(network.tvp) + network.trace_gate.numel()
    assert total == grafted + 2 * NEW_QWEN_TOKENS * width
    total, network = _counted("tiny-qwen", "1.5")
    assert total == _numbers(network)
    language = _numbers(network.model.language_model, network.lm_head)
    assert _counted("tiny-qwen", "2")[0] == language
    assert _counted("tiny-qwen", "2", train_tvp=True)[0] == language + grafted


@pytest.mark.parametrize("model", ["tiny", "tiny-qwen"])
def test_a_run_moves_what_trains_and_nothing_else(tmp_path, model) -> None:
    config = tiny_stage(model=model, stage="1", steps=3, packing={"length": 256})
    config = type(config).of_mapping(config.as_mapping())
    before = build(config).stage.network.state_dict()
    trainer = train(config, tmp_path)
    after = weights_in(tmp_path, config)
    moved = differing(before, after)
    tables = set(trainer.trainable.rows)
    assert tables
    assert {name.split(".")[0] for name in set(moved) - tables} <= {"tvp", "trace_gate"}
    assert any(name.endswith("gamma") for name in moved)
    for table in tables:
        rows = (before[table] != after[table]).any(dim=1).nonzero()[:, 0].tolist()
        assert rows
        assert set(rows) <= set(trainer.trainable.rows[table])


def test_a_group_without_parameters_is_an_error() -> None:
    with pytest.raises(ConfigError, match="vision"):
        freeze(torch.nn.Linear(2, 2), {"vision": ("visual.",)}, ("vision",), {})
