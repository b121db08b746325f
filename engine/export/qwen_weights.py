"""Where the weights of a Qwen export come from, one tensor at a time.

Names are those of ``TraceQwen``. The backbone comes from a Hugging Face folder, or is random for
benchmarks (speed does not depend on the weights); the grafted parts from ``GRAFTED_NAME`` in that
folder where a training left it, else they are as initialised and change nothing (gamma 0).
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from tracevlm_ros.core.errors import InputError
from training.model.config import QwenConfig
from training.model.language import rope_frequencies
from training.model.qwen.loading import IGNORED_SUFFIX, new_layout, shard_paths
from training.model.qwen.network import TraceQwen

GRAFTED_NAME = "tracevlm.safetensors"
BACKBONE = ("model.", "lm_head.")
FREQUENCIES = "model.language_model.frequencies"
_BLOCK = 2**22


class Backbone(Protocol):
    """``origin`` is what the manifest says of the weights."""

    @property
    def origin(self) -> Mapping[str, Any]: ...

    def read(self, name: str, shape: torch.Size) -> Tensor:
        """The weight as stored."""


class _Place(NamedTuple):
    path: Path
    key: str


class FolderBackbone:
    """The safetensors of a Hugging Face folder, opened as they are read.

    Raises InputError where the folder lacks a tensor of ``wanted``, or holds one of its own.
    """

    def __init__(self, folder: Path, wanted: set[str], tied_head: bool) -> None:
        self._folder = folder
        self._places = {
            new_layout(key): _Place(path, key)
            for path in shard_paths(folder)
            for key in _keys(path)
            if not key.endswith(IGNORED_SUFFIX)
        }
        found = set(self._places) - ({"lm_head.weight"} if tied_head else set())
        for names, problem in (
            (wanted - found, "lacks {}; fetch the shard that holds it"),
            (found - wanted, "holds {}, which this network has no place for; is it a Qwen2.5-VL?"),
        ):
            if names:
                raise InputError(f"{folder} {problem.format(min(names))}")

    @property
    def origin(self) -> Mapping[str, Any]:
        return {"backbone": self._folder.resolve().name}

    def read(self, name: str, shape: torch.Size) -> Tensor:
        """Raises InputError for a tensor of another shape, or of a quantised checkpoint."""
        place = self._places[name]
        try:
            with safe_open(str(place.path), framework="pt") as file:
                value: Tensor = file.get_tensor(place.key)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{place.path} cannot be read ({error}); fetch it anew") from error
        if value.shape != shape:
            raise InputError(
                f"{name} is {tuple(value.shape)} in {self._folder}, the config asks "
                f"{tuple(shape)}; take the folder's own config.json"
            )
        if not value.is_floating_point():
            raise InputError(
                f"{name} is stored as {value.dtype} in {self._folder}; quantised checkpoints are "
                "not read, take the bf16 one"
            )
        return value


def _keys(path: Path) -> list[str]:
    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); fetch it anew") from error


class RandomBackbone:
    """Weights as a fresh network has them, in bf16; one block of noise is repeated for speed."""

    def __init__(self, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self._noise = (0.02 * torch.randn(_BLOCK, generator=random)).to(torch.bfloat16)
        self.origin: Mapping[str, Any] = {
            "backbone": f"random, seed {seed}: for speed, not answers"
        }

    def read(self, name: str, shape: torch.Size) -> Tensor:
        if len(shape) == 1 and name.endswith("weight"):
            return torch.ones(shape, dtype=torch.bfloat16)
        count = shape.numel()
        start = zlib.crc32(name.encode()) % _BLOCK
        noise = self._noise.roll(-start)
        return noise.repeat(-(-count // _BLOCK))[:count].reshape(shape)


class QwenWeights:
    """All weights of one export by their names in ``TraceQwen``."""

    def __init__(self, config: QwenConfig, backbone: Backbone, grafted: TraceQwen) -> None:
        self._config, self._backbone = config, backbone
        self._shapes = {name: value.shape for name, value in grafted.named_parameters()}
        self._grafted: dict[str, Tensor] = {
            name: value.detach()
            for name, value in (*grafted.named_parameters(), *grafted.named_buffers())
            if not name.startswith(BACKBONE)
        }

    def read(self, name: str, wanted: torch.dtype) -> Tensor:
        """As ``wanted``, or narrower where the checkpoint is narrower than fp32."""
        if name == FREQUENCIES:
            return rope_frequencies(self._config.language)
        if name in self._grafted:
            return self._grafted[name]
        stored = self._backbone.read(name, self._shapes[name])
        if wanted == torch.float32 and stored.dtype != torch.float64:
            return stored
        found = stored.to(wanted)
        if not torch.isfinite(found).all():
            raise OverflowError(
                f"{name} holds {stored.abs().max():.3g}, fp16 ends at 65504; export with "
                "--precision bf16"
            )
        return found

    def gate(self) -> Tensor:
        """``trace_gate`` (D,)."""
        return self._grafted["trace_gate"]


def grafted_parts(config: QwenConfig, folder: Path | None) -> TraceQwen:
    """A network whose grafted parts are real, trained where ``folder`` holds ``GRAFTED_NAME``;
    its backbone takes no memory."""
    torch.manual_seed(0)
    model = TraceQwen(config, backbone_device="meta")
    path = None if folder is None else folder / GRAFTED_NAME
    if path is None or not path.is_file():
        return model
    missing, unexpected = model.load_state_dict(load_file(path), strict=False, assign=True)
    lacking = [name for name in missing if not name.startswith(BACKBONE)]
    if lacking or unexpected:
        raise InputError(
            f"{path} {'lacks' if lacking else 'holds'} {(lacking or unexpected)[0]}; it must hold "
            "the grafted parts of a TraceQwen and nothing else"
        )
    return model
