"""PyTorch as a back end: what exported graphs are compared with, through the same engine code."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.contract import GraphSpec, TensorSpec
from engine.export.examples import TORCH_TYPES
from engine.runtime.backend import NOTHING, Array, Resident, Tensor


class TorchResident:
    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def shape(self) -> list[int]:
        return list(self.value.shape)

    def numpy(self) -> Array:
        return self.value.cpu().numpy().copy()


class TorchBackend:
    """Runs the modules that graphs are traced from; ``modules`` and ``specs`` by graph."""

    def __init__(
        self, modules: Mapping[str, nn.Module], specs: Mapping[str, GraphSpec], device: str = "cpu"
    ) -> None:
        self._modules = {name: module.to(device).eval() for name, module in modules.items()}
        self._specs, self._device = specs, device

    @property
    def name(self) -> str:
        return f"pytorch-{self._device}"

    @torch.no_grad()
    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``."""
        spec = self._specs[graph]
        given = [self._on_device(inputs[name]) for name in spec.inputs]
        found = self._modules[graph](*given)
        outputs = (found,) if isinstance(found, torch.Tensor) else found
        named = dict(zip(spec.outputs, outputs, strict=True))
        for output, name in in_place.items():
            target = inputs[name]
            assert isinstance(target, TorchResident)
            target.value.copy_(named.pop(output))
        return {
            name: TorchResident(value) if name in resident else value.cpu().numpy()
            for name, value in named.items()
        }

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """See ``Backend.zeros``."""
        return {
            name: TorchResident(
                torch.zeros(
                    [int(size) for size in spec.shape],
                    dtype=TORCH_TYPES[spec.dtype],
                    device=self._device,
                )
            )
            for name, spec in specs.items()
        }

    def close(self) -> None:
        self._modules.clear()

    def _on_device(self, tensor: Tensor) -> torch.Tensor:
        if isinstance(tensor, TorchResident):
            return tensor.value
        return torch.from_numpy(np.array(tensor)).to(self._device)
