"""``config.json`` of a Hugging Face folder -> ``QwenConfig``; flat and nested forms are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracevlm_ros.core.errors import ConfigError, InputError
from training.model.config import (
    LanguageConfig,
    QwenConfig,
    QwenTokens,
    QwenVisionConfig,
    grafted_tvp,
)

MODEL_TYPE = "qwen2_5_vl"


def read_qwen_config(folder: Path) -> QwenConfig:
    """Raises InputError when the file is absent, of another model, or lacks a size."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a Hugging Face folder") from error
    if not isinstance(content, dict) or content.get("model_type") != MODEL_TYPE:
        kind = content.get("model_type") if isinstance(content, dict) else content
        raise InputError(f"{path} is of model type {kind!r}; this reads {MODEL_TYPE}")
    try:
        return config_of(content)
    except KeyError as error:
        raise InputError(f"{path} lacks {error}; fetch the file anew") from error
    except (TypeError, ConfigError) as error:
        raise InputError(f"{path} does not fit: {error}") from error


def config_of(content: Mapping[str, Any]) -> QwenConfig:
    """Released folders keep the language model's sizes at the top, newer ones in text_config."""
    text = content.get("text_config") or content
    language = _language(text)
    stated = {key: value for key, value in content.items() if value is not None}
    tied = content.get("tie_word_embeddings", False) or text.get("tie_word_embeddings", False)
    heads = language.heads
    return QwenConfig(
        vision=_vision(content["vision_config"]),
        language=language,
        tvp=grafted_tvp(language.width, heads),
        tokens=_tokens({**text, **stated}, language.vocab),
        tied_head=bool(tied),
    )


def _language(text: Mapping[str, Any]) -> LanguageConfig:
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if text.get("use_sliding_window"):
        raise ConfigError("use_sliding_window is true; only full attention is known")
    if text.get("rms_norm_eps", 1e-6) != 1e-6:
        raise ConfigError(f"rms_norm_eps is {text['rms_norm_eps']}; only 1e-6 is known")
    theta = rope.get("rope_theta", text.get("rope_theta", 1e6))
    return LanguageConfig(
        vocab=text["vocab_size"],
        width=text["hidden_size"],
        depth=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        mlp_width=text["intermediate_size"],
        rope_theta=float(theta),
        rope_sections=tuple(rope.get("mrope_section", (16, 24, 24))),
        fused_attention=True,
    )


def _vision(vision: Mapping[str, Any]) -> QwenVisionConfig:
    base = QwenVisionConfig()
    depth = vision.get("depth", base.depth)
    return QwenVisionConfig(
        patch_size=vision.get("patch_size", base.patch_size),
        temporal_patch=vision.get("temporal_patch_size", base.temporal_patch),
        width=vision["hidden_size"],
        depth=depth,
        heads=vision.get("num_heads", base.heads),
        mlp_width=vision["intermediate_size"],
        window=vision.get("window_size", base.window),
        full_attention_blocks=tuple(
            vision.get("fullatt_block_indexes", base.full_attention_blocks)
        ),
        merge=vision.get("spatial_merge_size", base.merge),
        tokens_per_second=vision.get("tokens_per_second", base.tokens_per_second),
        shallow_block=min(base.shallow_block, depth - 1),
    )


def _tokens(content: Mapping[str, Any], vocab: int) -> QwenTokens:
    """Ids that the file states; ours keep their rows, or take the last ones of a small table.

    The file names the end of a turn alone; in Qwen's vocabularies its start comes right before.
    """
    base = QwenTokens()
    shift = 0 if max(base.all_ids()) < vocab else vocab - 1 - max(base.codebook)
    turn_end = content.get("eos_token_id") or base.turn_end
    return QwenTokens(
        end_of_text=content.get("bos_token_id") or base.end_of_text,
        turn_start=turn_end - 1,
        turn_end=turn_end,
        vision_start=content.get("vision_start_token_id", base.vision_start),
        vision_end=content.get("vision_end_token_id", base.vision_end),
        image_pad=content.get("image_token_id", base.image_pad),
        video_pad=content.get("video_token_id", base.video_pad),
        traj_start=base.traj_start + shift,
        traj_end=base.traj_end + shift,
        traj_pad=base.traj_pad + shift,
        seg=base.seg + shift,
        codebook=tuple(token + shift for token in base.codebook),
    )
