"""A Qwen network that takes no memory, to trace graphs with."""

import dataclasses

from torch._subclasses import FakeTensorMode

from engine.export.weight_types import PRECISIONS, set_weight_type
from training.model.config import QwenConfig
from training.model.qwen.network import TraceQwen


def exportable(config: QwenConfig) -> QwenConfig:
    """``config`` with attention of primitive operations."""
    language = dataclasses.replace(config.language, fused_attention=False)
    return dataclasses.replace(config, language=language)


def set_backbone_type(model: TraceQwen, precision: str) -> None:
    """Encoder, language model and head compute in ``precision``; the grafted parts stay fp32."""
    for part in (model.model, model.lm_head):
        if part is not None:
            set_weight_type(part, PRECISIONS[precision])


class ShadowNetwork:
    """``model`` has shapes and types and no values; trace it inside ``mode``."""

    def __init__(self, config: QwenConfig, precision: str) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self.mode:
            self.model = TraceQwen(exportable(config)).eval()
            set_backbone_type(self.model, precision)
