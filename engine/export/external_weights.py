"""Graphs whose weights lie in files beside them: no 2 GB limit, one tensor in memory at a time.

A graph is traced without weights; each weight is then read from its source, written once to the
weights file, and referred to by every graph that uses it (prefill and decode share theirs).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor

from engine.export.onnx_file import forget_origin
from engine.export.packed_file import PackedFile

_INLINE_BYTES = 1024
_BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float8_e4m3fn: torch.uint8,
}
_IR_TYPES = {
    torch.float32: ir.DataType.FLOAT,
    torch.float16: ir.DataType.FLOAT16,
    torch.bfloat16: ir.DataType.BFLOAT16,
    torch.int64: ir.DataType.INT64,
    torch.int32: ir.DataType.INT32,
    torch.bool: ir.DataType.BOOL,
    torch.float8_e4m3fn: ir.DataType.FLOAT8E4M3FN,
}


class Placed(NamedTuple):
    """Where a weight lies, and its type there."""

    offset: int
    length: int
    dtype: torch.dtype


class WeightsFile:
    """A file of weights that grows until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PackedFile(path)
        self._placed: dict[str, Placed] = {}

    def place(self, name: str, read: Callable[[], Tensor]) -> Placed:
        """Write the weight ``name`` unless it is there; ``read`` is then called once."""
        if name not in self._placed:
            values = read().detach().contiguous()
            bits = values.view(_BITS[values.dtype]) if values.dtype in _BITS else values
            region = self._file.place(name, lambda: bits.numpy().reshape(-1).view(np.uint8))
            self._placed[name] = Placed(*region, values.dtype)
        return self._placed[name]

    def close(self) -> None:
        self._file.close()


Read = Callable[[str, torch.dtype], Tensor]


def write_external(model: ir.Model, path: Path, weights: WeightsFile, read: Read) -> None:
    """Write the graph ``model`` to ``path``, its weights to ``weights`` beside it.

    ``read`` gives a weight by its name in the graph and the type that computes. What it gives may
    be narrower: it is stored as it is, and widened in the graph.
    """
    used = {value for node in model.graph for value in node.inputs if value is not None}
    for name, value in list(model.graph.initializers.items()):
        if value not in used and not value.is_graph_output():
            del model.graph.initializers[name]
            continue
        if isinstance(value.const_value, ir.ExternalTensor):
            continue
        raw = getattr(value.const_value, "raw", None)
        if not isinstance(raw, Tensor):
            continue
        if not is_weight(raw) and raw.numel() * raw.element_size() <= _INLINE_BYTES:
            value.const_value = ir.tensor(raw.numpy(), name=name)
            continue
        read_it = partial(read, name, _torch_type(value)) if is_weight(raw) else partial(same, raw)
        key = name if is_weight(raw) else f"{path.stem}:{name}"
        _refer(model.graph, value, weights.place(key, read_it), weights.path)
    document = ir.to_proto(model)
    forget_origin(document)
    onnx.save(document, str(path))


def is_weight(value: Tensor) -> bool:
    """A parameter, or a tensor without values; other tensors were known while tracing."""
    return isinstance(value, torch.nn.Parameter) or type(value) is not Tensor


def same(value: Tensor) -> Tensor:
    return value


def _torch_type(value: Any) -> torch.dtype:
    return next(key for key, kind in _IR_TYPES.items() if kind == value.dtype)


def outside(value: ir.Value, placed: Placed, file: Path) -> ir.DataType:
    """Let ``value`` be what lies at ``placed`` of ``file``; gives its type there."""
    stored = _IR_TYPES[placed.dtype]
    value.const_value = ir.ExternalTensor(
        file.name,
        placed.offset,
        placed.length,
        stored,
        shape=ir.Shape(shape_of(value)),
        name=str(value.name),
        base_dir=file.parent,
    )
    value.dtype = stored
    return stored


def shape_of(value: ir.Value) -> list[int]:
    """Sizes of a weight; they are all known."""
    return [size for size in value.shape or () if isinstance(size, int)]


def _refer(graph: ir.Graph, value: ir.Value, placed: Placed, file: Path) -> None:
    """Let ``value`` be what lies at ``placed``, through a Cast where the types differ."""
    name, computed = str(value.name), value.dtype
    stored = outside(value, placed, file)
    if computed is None or stored == computed:
        return
    users = list(value.uses())
    cast = ir.node("Cast", [value], {"to": computed.value})
    cast.outputs[0].name = f"{name}_computed"
    cast.outputs[0].dtype, cast.outputs[0].shape = computed, value.shape
    graph.insert_before(graph[0], cast)
    for node, index in users:
        node.replace_input_with(index, cast.outputs[0])
