"""Local Hugging Face folders: both key layouts, shards, and everything that must be refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.tiny_qwen import TOKENS, released_model, tiny_config
from tracevlm_ros.core.errors import InputError
from training.model.config import (
    LanguageConfig,
    QwenConfig,
    QwenVisionConfig,
    grafted_tvp,
    qwen2_5_vl_3b,
    qwen2_5_vl_7b,
)
from training.model.qwen.folder_config import config_of, read_qwen_config
from training.model.qwen.loading import load_qwen, new_layout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A released model in bf16, in several shards with their index."""
    folder = tmp_path_factory.mktemp("saved")
    model = released_model(tiny_config()).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return model, folder


def _copy(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def _single(folder: Path, to: Path, old: bool) -> dict[str, torch.Tensor]:
    """All shards as one file in the old or the new key layout; returns what it holds."""
    tensors = {
        new_layout(name): value
        for path in folder.glob("*.safetensors")
        for name, value in load_file(path).items()
    }
    if old:
        tensors = {
            name.replace("model.visual.", "visual.").replace("language_model.", ""): value
            for name, value in tensors.items()
        }
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors, to / "model.safetensors")
    return tensors


def test_a_sharded_bf16_folder_loads_every_weight(saved: tuple[Any, Path]) -> None:
    model, folder = saved
    ours = load_qwen(folder).state_dict()
    wanted = model.state_dict()
    for name, value in wanted.items():
        assert ours[name].dtype == torch.bfloat16
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("old", [True, False], ids=["old layout", "new layout"])
def test_both_key_layouts_load(saved: tuple[Any, Path], tmp_path: Path, old: bool) -> None:
    model, folder = saved
    names = _single(folder, tmp_path, old)
    assert ("visual.merger.ln_q.weight" in names) is old
    assert ("model.language_model.norm.weight" in names) is not old
    ours = load_qwen(tmp_path, torch.float32).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(ours[name], value.float()), name


def test_a_loaded_model_has_nothing_left_on_the_meta_device(saved: tuple[Any, Path]) -> None:
    model = load_qwen(saved[1])
    held = [*model.named_parameters(), *model.named_buffers()]
    assert {value.device.type for _, value in held} == {"cpu"}
    frequencies = model.model.language_model.frequencies
    assert frequencies.dtype == torch.float32
    assert frequencies[0] == 1.0


def test_sizes_are_read_from_the_folder(saved: tuple[Any, Path]) -> None:
    config, wanted = read_qwen_config(saved[1]), tiny_config()
    assert (config.vision.width, config.vision.window) == (32, 56)
    assert config.vision.full_attention_blocks == wanted.vision.full_attention_blocks
    assert config.language == wanted.language
    assert config.tied_head is False
    assert config.tokens.image_pad == TOKENS.image_pad
    assert config.tokens.turn_end == TOKENS.turn_end


def _released_form(config: QwenConfig) -> dict[str, Any]:
    """config.json as published with the weights: flat, with ``rope_scaling``."""
    text, vision, tokens = config.language, config.vision, config.tokens
    return {
        "model_type": "qwen2_5_vl",
        "bos_token_id": tokens.end_of_text, "eos_token_id": tokens.turn_end,
        "vision_start_token_id": tokens.vision_start, "vision_end_token_id": tokens.vision_end,
        "image_token_id": tokens.image_pad, "video_token_id": tokens.video_pad,
        "hidden_size": text.width, "intermediate_size": text.mlp_width,
        "num_attention_heads": text.heads, "num_hidden_layers": text.depth,
        "num_key_value_heads": text.kv_heads, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "tie_word_embeddings": config.tied_head, "vocab_size": text.vocab,
        "use_sliding_window": False, "sliding_window": 32768,
        "vision_config": {
            "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420,
            "num_heads": 16, "in_chans": 3, "out_hidden_size": text.width, "patch_size": 14,
            "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": vision.window,
            "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
    }  # fmt: skip


@pytest.mark.parametrize("preset", [qwen2_5_vl_3b(), qwen2_5_vl_7b()], ids=["3b", "7b"])
def test_the_published_form_of_config_json_gives_the_preset(preset: QwenConfig) -> None:
    assert config_of(_released_form(preset)) == preset


def test_pickle_files_are_refused_and_not_opened(tmp_path: Path, saved: tuple[Any, Path]) -> None:
    (tmp_path / "config.json").write_bytes((saved[1] / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"no pickle at all")
    with pytest.raises(InputError, match=r"pytorch_model\.bin.*never read"):
        load_qwen(tmp_path)


def test_an_index_that_names_a_pickle_or_a_path_is_refused(
    tmp_path: Path, saved: tuple[Any, Path]
) -> None:
    folder = _copy(saved[1], tmp_path)
    for name in ("pytorch_model.bin", "../elsewhere/model.safetensors"):
        index = {"weight_map": {"lm_head.weight": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        with pytest.raises(InputError, match="nothing else is read"):
            load_qwen(folder)


def test_a_missing_shard_is_named(tmp_path: Path, saved: tuple[Any, Path]) -> None:
    folder = _copy(saved[1], tmp_path)
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(InputError, match=rf"lacks 1 of \d+ shards, first {gone.name}"):
        load_qwen(folder)


def test_a_truncated_shard_is_named(tmp_path: Path, saved: tuple[Any, Path]) -> None:
    folder = _copy(saved[1], tmp_path)
    cut = min(folder.glob("*.safetensors"))
    cut.write_bytes(cut.read_bytes()[:-64])
    with pytest.raises(InputError, match=f"{cut.name} cannot be read"):
        load_qwen(folder)


def test_tensors_that_are_missing_strange_or_misshapen_are_named(
    tmp_path: Path, saved: tuple[Any, Path]
) -> None:
    whole = _single(saved[1], tmp_path, old=False)
    name = "model.language_model.layers.1.self_attn.k_proj.bias"
    faults = {
        f"lacks 1 of .* first {name}": {k: v for k, v in whole.items() if k != name},
        rf"{name} is \(3,\) in .* asks \(32,\)": {**whole, name: torch.zeros(3)},
        "holds model.extra, which": {**whole, "model.extra": torch.zeros(1)},
        f"{name} is stored as torch.int8": {**whole, name: torch.zeros(32, dtype=torch.int8)},
    }
    for message, tensors in faults.items():
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=message):
            load_qwen(tmp_path)


def test_a_folder_of_another_model_or_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        load_qwen(tmp_path / "absent")
    with pytest.raises(InputError, match="holds neither"):
        load_qwen(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(InputError, match="'llama'"):
        load_qwen(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}', encoding="utf-8")
    with pytest.raises(InputError, match="vocab_size"):
        load_qwen(tmp_path)


def test_config_rejects_ids_beyond_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="beyond the vocabulary of 320"):
        QwenConfig(
            vision=QwenVisionConfig(),
            language=LanguageConfig(vocab=320),
            tvp=grafted_tvp(256, 4),
            tied_head=True,
        )
