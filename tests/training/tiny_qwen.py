"""A tiny Qwen2.5-VL twice: as transformers builds it, and as this project does, same weights."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from training.model.config import (
    DecoderConfig,
    LanguageConfig,
    QwenConfig,
    QwenTokens,
    QwenVisionConfig,
    TVPConfig,
    grafted_tvp,
)
from training.model.qwen.loading import load_qwen
from training.model.qwen.network import TraceQwen
from training.model.qwen.patches import Patches, cut_patches

TOKENS = QwenTokens(
    end_of_text=300, turn_start=301, turn_end=302, vision_start=303, vision_end=304,
    image_pad=305, video_pad=306, traj_start=307, traj_end=308, traj_pad=309, seg=310,
    codebook=(311, 312, 313, 314, 315, 316),
)  # fmt: skip


def tiny_config(tied: bool = False, fused: bool = True, tvp: TVPConfig | None = None) -> QwenConfig:
    """Windows of 4 x 4 patches, so that pictures have whole and cut windows."""
    return QwenConfig(
        vision=QwenVisionConfig(
            width=32, depth=4, heads=2, mlp_width=48, window=56, full_attention_blocks=(1, 3),
            shallow_block=1, shallow_channels=16,
        ),
        language=LanguageConfig(
            vocab=320, width=64, depth=3, heads=4, kv_heads=2, mlp_width=96, rope_theta=1e4,
            rope_sections=(2, 3, 3), fused_attention=fused,
        ),
        tvp=tvp or grafted_tvp(64, 4),
        decoder=DecoderConfig(channels=(32, 16), heads=2),
        tokens=TOKENS,
        tied_head=tied,
    )  # fmt: skip


def released_config(config: QwenConfig) -> Any:
    """The same sizes as transformers' own config."""
    transformers = pytest.importorskip("transformers")
    vision, text, tokens = config.vision, config.language, config.tokens
    return transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": vision.depth, "hidden_size": vision.width, "num_heads": vision.heads,
            "intermediate_size": vision.mlp_width, "window_size": vision.window,
            "out_hidden_size": text.width, "tokens_per_second": vision.tokens_per_second,
            "fullatt_block_indexes": list(vision.full_attention_blocks),
        },
        text_config={
            "vocab_size": text.vocab, "hidden_size": text.width, "rms_norm_eps": 1e-6,
            "num_hidden_layers": text.depth, "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads, "intermediate_size": text.mlp_width,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": text.rope_theta,
                "mrope_section": list(text.rope_sections),
            },
            "bos_token_id": tokens.end_of_text, "eos_token_id": tokens.turn_end,
        },
        tie_word_embeddings=config.tied_head,
        vision_start_token_id=tokens.vision_start, vision_end_token_id=tokens.vision_end,
        image_token_id=tokens.image_pad, video_token_id=tokens.video_pad,
    )  # fmt: skip


def released_model(config: QwenConfig, seed: int = 0) -> Any:
    """Random weights, norms and biases among them, large enough to make every part count."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    model = transformers.Qwen2_5_VLForConditionalGeneration(released_config(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.25)
        if not config.tied_head:
            model.model.language_model.embed_tokens.weight.normal_(0.0, 1.0)
    return model


class Twins(NamedTuple):
    released: Any
    ours: TraceQwen


def twins(config: QwenConfig, folder: Path) -> Twins:
    """The released model is saved to ``folder`` and read back by this project."""
    released = released_model(config)
    released.save_pretrained(folder, safe_serialization=True)
    torch.manual_seed(1)
    return Twins(released, load_qwen(folder, torch.float32, config).eval())


@lru_cache(maxsize=8)
def random_patches(frames: int, height: int, width: int, seed: int = 0) -> Patches:
    random = torch.Generator().manual_seed(seed)
    return cut_patches(torch.randn(frames, 3, height, width, generator=random), QwenVisionConfig())
