"""One process or many: who reads what, sharding by FSDP2, sums over all processes.

``torchrun`` sets the environment; without it there is one process and nothing is sharded. Every
rank runs the same program. Scalars cannot be sharded: they stay whole, and their gradients are
averaged here.
"""

import os
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from tracevlm_ros.core.errors import ConfigError
from training.model import language

LETTING_GO_S = 0.5
_PRODUCTS = frozenset({torch.ops.aten.mm.default, torch.ops.aten.addmm.default})


class Processes(NamedTuple):
    """This process is ``rank`` of ``world`` and computes on ``device``."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, the same on each."""
        if self.world == 1:
            return [float(value) for value in values]
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, in the order of ranks."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()


def join(device: str) -> Processes:
    """Join the group that ``torchrun`` made, or be alone. ``device``: auto, cpu or cuda.

    ConfigError when cuda is asked for and there is none.
    """
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda' and PyTorch finds none; set device to cpu or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else (
        torch.device("cpu")
    )  # fmt: skip
    if cuda:
        torch.cuda.set_device(place)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Processes(dist.get_rank() if world > 1 else 0, world, place)


def leave(processes: Processes) -> None:
    """Leave the group, as the last thing that a process does.

    Gloo's threads let go of the last collective's tensors after it is done, and need the
    interpreter for that; one that finds it gone aborts the process. So they are given time.
    """
    if processes.world > 1:
        dist.destroy_process_group()
        time.sleep(LETTING_GO_S)


def shard(network: nn.Module, layers: Iterable[nn.Module], processes: Processes) -> list[nn.Module]:
    """Put ``network`` on its device and, among several processes, shard it: each of ``layers`` by
    itself, the rest together. Gives the modules that were sharded."""
    if processes.world == 1:
        network.to(processes.device)
        return []
    mesh = init_device_mesh(processes.device.type, (processes.world,))
    whole = {p for p in network.parameters() if p.dim() == 0}
    sharded = [*layers, network]
    for module in sharded:
        own = whole & set(module.parameters())
        fully_shard(module, mesh=mesh, ignored_params=own or None)
    network.to(processes.device)
    return sharded


def compile_layers(layers: Iterable[nn.Module]) -> None:
    """Have what each of ``layers`` computes made into kernels of its own when it first runs, but
    for attention of packed rows: every batch has other lengths, and would be compiled anew."""
    for name in ("attend_within", "attend_flat"):
        kept = torch.compiler.disable(getattr(language, name))  # type: ignore[no-untyped-call]
        setattr(language, name, kept)
    for layer in layers:
        object.__setattr__(layer, "forward", torch.compile(layer.forward))


def recompute(layers: Iterable[nn.Module], keep_products: bool = False) -> None:
    """Gradient checkpointing: ``layers`` keep their input and run again for the gradients; with
    ``keep_products`` they keep the results of matrix products as well, and run the rest again."""
    kept = partial(create_selective_checkpoint_contexts, _product_is_kept)
    context: dict[str, Any] = {"context_fn": kept} if keep_products else {}
    for layer in layers:
        again = partial(checkpoint, layer.forward, use_reentrant=False, **context)
        object.__setattr__(layer, "forward", again)


def _product_is_kept(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    kept = operation in _PRODUCTS
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def complete_gradients(parameters: Iterable[nn.Parameter], processes: Processes) -> None:
    """Average the gradients of what is not sharded, as sharding does with the rest."""
    if processes.world > 1:
        for parameter in parameters:
            if not isinstance(parameter, DTensor):
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)
                parameter.grad /= processes.world


def clip(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale gradients so that their joint norm is at most ``limit``; gives the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    parts = [_squares(g.to_local()) for g in gradients if isinstance(g, DTensor)]
    whole = [_squares(g) for g in gradients if not isinstance(g, DTensor)]
    if parts:
        sharded = torch.stack(parts).sum()
        dist.all_reduce(sharded)
        whole.append(sharded)
    norm = float(torch.stack(whole).sum().sqrt())
    if norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm


def _squares(values: Tensor) -> Tensor:
    """Their sum, in fp32 without a copy in it."""
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float32)
    return norm.square()
