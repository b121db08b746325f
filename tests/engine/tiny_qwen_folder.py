"""A folder as the released models have it, with a tiny network of random weights in it."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from engine.export.qwen_tokenizer import letters_tokenizer
from engine.export.qwen_weights import BACKBONE, GRAFTED_NAME
from training.model.qwen.folder_config import read_qwen_config
from training.model.qwen.network import TraceQwen

CONFIG = {
    "model_type": "qwen2_5_vl",
    "vocab_size": 320,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "rope_theta": 10000.0,
    "rope_scaling": {"mrope_section": [2, 3, 3], "type": "mrope"},
    "bos_token_id": 300,
    "eos_token_id": 302,
    "vision_start_token_id": 303,
    "vision_end_token_id": 304,
    "image_token_id": 305,
    "video_token_id": 306,
    "vision_config": {
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "intermediate_size": 48,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
}


def write_tiny_folder(
    folder: Path, dtype: torch.dtype = torch.float32, grafted: bool = True
) -> Path:
    """Two shards in the released key layout; ``grafted`` parts as a training leaves them."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    config = read_qwen_config(folder)
    torch.manual_seed(0)
    model = TraceQwen(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2)
        model.model.language_model.embed_tokens.weight.normal_()
        # With large weights the decoder amplifies rounding until it decides what the mask is.
        for parameter in model.pixel_decoder.parameters():
            if parameter.ndim > 1:
                parameter.mul_(0.6)
        model.pixel_decoder.bias.fill_(-30.0)
    named = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    backbone = {
        released(name): value.to(dtype)
        for name, value in named.items()
        if name.startswith(BACKBONE)
    }
    shards = {
        f"model-0000{number + 1}-of-00002.safetensors": dict(list(backbone.items())[number::2])
        for number in range(2)
    }
    for shard, tensors in shards.items():
        save_file(tensors, folder / shard)
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    index = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index)
    if grafted:
        others = {key: value for key, value in named.items() if not key.startswith(BACKBONE)}
        save_file(others, folder / GRAFTED_NAME)
    letters_tokenizer(config.tokens).save(str(folder / "tokenizer.json"))
    return folder


def released(name: str) -> str:
    """A key as the released folders spell it."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def speaking(folder: Path) -> Path:
    """Change ``folder`` so that some answers end with [SEG], and their masks are partly filled."""
    seg = read_qwen_config(folder).tokens.seg
    for shard in (*folder.glob("model-*.safetensors"), folder / GRAFTED_NAME):
        tensors = load_file(shard)
        if "lm_head.weight" in tensors:
            tensors["lm_head.weight"][seg] *= 2.0
        if "pixel_decoder.bias" in tensors:
            tensors["pixel_decoder.bias"].fill_(-35.0)
        save_file(tensors, shard)
    return folder
