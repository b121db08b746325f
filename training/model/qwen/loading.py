"""Weights of a local Hugging Face folder into the Qwen backbone: safetensors only, never pickle.

Both key layouts are read: the released one (``visual.*``, ``model.layers.*``) and the newer one
(``model.visual.*``, ``model.language_model.*``). The backbone is built without memory and takes
each tensor as it is read, so a 7B model needs its own size once.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenConfig
from training.model.language import rope_frequencies
from training.model.qwen.folder_config import read_qwen_config
from training.model.qwen.network import TraceQwen

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
IGNORED_SUFFIX = "rotary_emb.inv_freq"


class StoredTensor(NamedTuple):
    """``name`` in the new layout, ``value`` as stored."""

    name: str
    value: Tensor


def new_layout(name: str) -> str:
    """A key of either layout -> the newer one."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith(("model.layers.", "model.embed_tokens.", "model.norm.")):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def shard_paths(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of ``folder``; InputError where it has none or lacks a shard."""
    index = folder / INDEX
    if index.is_file():
        return _indexed_shards(folder, index)
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise InputError(
            f"{folder} holds {pickles[0]} and no {SINGLE}; pickle files can run code and are never "
            "read: save the model as safetensors (save_pretrained writes them)"
        )
    raise InputError(
        f"{folder} holds neither {INDEX} nor {SINGLE}; give the folder of a Hugging Face model"
    )


def _indexed_shards(folder: Path, index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index} is no safetensors index ({error}); fetch it anew") from error
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(
                f"{index} names '{name}'; shards are .safetensors files beside it, nothing else is "
                "read"
            )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(names)} shards, first {missing[0]}; fetch it"
        )
    return tuple(folder / name for name in names)


def stored_tensors(folder: Path) -> Iterator[StoredTensor]:
    """Every tensor of the folder, one at a time, shard after shard."""
    for path in shard_paths(folder):
        yield from _tensors_of(path)


def _tensors_of(path: Path) -> Iterator[StoredTensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping, it only has keys()
                if not name.endswith(IGNORED_SUFFIX):
                    yield StoredTensor(new_layout(name), file.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); fetch it anew") from error


def load_backbone(model: TraceQwen, folder: Path, dtype: torch.dtype) -> None:
    """Put the folder's weights into ``model`` as ``dtype``; the grafted parts stay as they are.

    Raises InputError naming the tensor for one that is missing, unexpected or of another shape.
    Nothing of ``model`` is changed in that case but the tensors already read.
    """
    wanted = {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.startswith(("model.", "lm_head."))
    }
    found: set[str] = set()
    for name, value in stored_tensors(folder):
        if name == "lm_head.weight" and model.lm_head is None:
            continue
        if name not in wanted:
            raise InputError(
                f"{folder} holds {name}, which this network has no place for; is it a Qwen2.5-VL "
                "of the configured depth?"
            )
        if value.shape != wanted[name].shape:
            raise InputError(
                f"{name} is {tuple(value.shape)} in {folder}, the config asks "
                f"{tuple(wanted[name].shape)}; take the folder's own config.json"
            )
        if not value.is_floating_point():
            raise InputError(
                f"{name} is stored as {value.dtype} in {folder}; quantised checkpoints are not "
                "read, take the bf16 one"
            )
        _assign(model, name, value.to(dtype))
        found.add(name)
    missing = sorted(set(wanted) - found)
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}; fetch "
            "the shard that holds it"
        )
    model.model.language_model.frequencies = rope_frequencies(model.config.language)


def _assign(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    trained = getattr(owner, leaf).requires_grad
    setattr(owner, leaf, nn.Parameter(value, requires_grad=trained))


def load_qwen(
    folder: Path, dtype: torch.dtype = torch.bfloat16, config: QwenConfig | None = None
) -> TraceQwen:
    """A ``TraceQwen`` with the folder's backbone; sizes come from its config.json unless given.

    Raises InputError for a folder that is damaged, of another model or without safetensors.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the local folder of a Hugging Face model")
    shard_paths(folder)
    model = TraceQwen(config or read_qwen_config(folder), backbone_device="meta")
    load_backbone(model, folder, dtype)
    return model
