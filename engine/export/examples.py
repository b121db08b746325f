"""Random inputs of any graph of the contract, to trace with and to compare with."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from engine.contract import GraphSpec

TORCH_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class CallSizes(NamedTuple):
    """The symbols of one call: T, L and P, S, M, B."""

    traces: int = 2
    prompt: int = 24
    steps: int = 7
    points: int = 16
    answers: int = 2


def example_inputs(
    graph: str, spec: GraphSpec, sizes: Mapping[str, int], call: CallSizes, seed: int = 0
) -> dict[str, Tensor]:
    """Inputs that make sense: rope ids that count on, a causal mask, points inside the picture."""
    symbols = {
        **sizes,
        "T": call.traces,
        "L": call.prompt,
        "P": call.prompt,
        "S": call.steps,
        "P+S": call.prompt + call.steps,
        "M": call.points,
        "B": call.answers,
    }
    random = torch.Generator().manual_seed(seed)
    cached = call.prompt if graph == "decode" else 0
    found: dict[str, Tensor] = {}
    for name, tensor in spec.inputs.items():
        shape = [symbols[size] if isinstance(size, str) else size for size in tensor.shape]
        if name == "mask":
            places = torch.arange(shape[1])[None]
            found[name] = places <= torch.arange(shape[0])[:, None] + cached
        elif name == "skipped":
            found[name] = torch.arange(shape[0])
        elif name == "write_index":
            found[name] = torch.tensor([cached])
        elif tensor.dtype == "uint8":
            found[name] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        elif tensor.dtype == "int64":
            found[name] = (torch.arange(shape[-1]) + cached).expand(shape).contiguous()
        elif graph == "track":
            side = torch.tensor([sizes["track_w_0"], sizes["track_h_0"]]) - 1.0
            found[name] = torch.rand(shape, generator=random) * side
        else:
            found[name] = _floats(name, shape, random).to(TORCH_TYPES[tensor.dtype])
    return found


def _floats(name: str, shape: list[int], random: torch.Generator) -> Tensor:
    if name == "valid":
        return (torch.arange(shape[-1]) < shape[-1] - 2).float().repeat(shape[0], 1)
    if name == "pen_up":
        return (torch.rand(shape, generator=random) < 0.2).float()
    if name in ("points", "dt_s", "prior"):
        return torch.rand(shape, generator=random)
    return torch.randn(shape, generator=random)
