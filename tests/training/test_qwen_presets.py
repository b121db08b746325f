"""The real sizes, on the meta device: real checkpoints must find a place for every tensor."""

import pytest
import torch

from tests.training.tiny_qwen import released_config
from training.model.config import QWEN_PRESETS
from training.model.qwen.network import QwenBackbone, TraceQwen

PUBLISHED_BYTES = {"qwen2.5-vl-3b": 7_509_245_952, "qwen2.5-vl-7b": 16_584_333_312}
"""``metadata.total_size`` of the published indices, two bytes a weight."""


@pytest.mark.parametrize("name", QWEN_PRESETS)
def test_parameter_names_and_shapes_are_those_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = QWEN_PRESETS[name]()
    with torch.device("meta"):
        released = transformers.Qwen2_5_VLForConditionalGeneration(released_config(config))
    ours = QwenBackbone(config, "meta")
    wanted = {key: tuple(value.shape) for key, value in released.named_parameters()}
    assert {key: tuple(value.shape) for key, value in ours.named_parameters()} == wanted


@pytest.mark.parametrize("name", QWEN_PRESETS)
def test_the_backbone_weighs_what_the_published_one_does(name: str) -> None:
    ours = QwenBackbone(QWEN_PRESETS[name](), "meta")
    count = sum(parameter.numel() for parameter in ours.parameters())
    assert 2 * count == PUBLISHED_BYTES[name]


@pytest.mark.parametrize("name", QWEN_PRESETS)
def test_grafted_parts_follow_the_paper_at_real_size(name: str) -> None:
    with torch.device("meta"):
        model = TraceQwen(QWEN_PRESETS[name]())
    grafted = {key for key, _ in model.named_parameters() if not key.startswith(("model.", "lm_"))}
    assert {key.split(".")[0] for key in grafted} == {
        "tvp", "trace_gate", "feature_maps", "pixel_decoder"
    }  # fmt: skip
    assert not {"near", "log_sigma", "log_reach"} & {key.rpartition(".")[2] for key in grafted}
    assert model.config.tvp.gamma_init == 0.0
    assert len(model.tvp.blocks) == 2
