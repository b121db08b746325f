"""Explicit Q/DQ in a graph whose weights lie outside, written with its weights a tensor at a time.

What is quantised, and why, is the same as in ``quantised_graph``; only memory differs: neither
ONNX Runtime nor ``onnx`` ever holds the model as one. Products of a bf16 export stay in bf16: their
scales are in the type that they multiply.
"""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.export.fp8_graph import LARGEST
from engine.export.measured_ranges import Range, Ranges
from engine.export.outside_products import Product, drop_unused, find_products
from engine.export.outside_tensors import is_outside, place_of, raw_bytes, row_blocks
from engine.export.packed_file import PackedFile, Region
from engine.export.precisions import Recipe
from engine.export.weight_codes import CODINGS, Coded, Coding, encode, packed
from tracevlm_ros.core.errors import EngineError

_INT4_OPSET = 21
_CHANGED_IN_21 = "GroupNormalization"
"""The one operator whose meaning differs between opsets 20 and 21; the others take more types."""
_SMALLEST_RANGE = 1e-6
_WEIGHTS, _SCALES = "codes", "scales"


class Sink:
    """The weights files of one draft directory, opened as they are needed."""

    def __init__(self, source: Path, draft: Path) -> None:
        self.source = source
        self._draft = draft
        self._files: dict[str, PackedFile] = {}

    def place(self, file: str, key: str, read: Callable[[], NDArray[np.uint8]]) -> Region:
        if file not in self._files:
            self._files[file] = PackedFile(self._draft / file)
        return self._files[file].place(key, read)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class _Work(NamedTuple):
    """One graph under way. ``added``: tensor -> the nodes that round it, and the name of what they
    give; ``fresh``: constants that it did not have."""

    constants: Mapping[str, Any]
    coding: Coding
    recipe: Recipe
    sink: Sink
    added: dict[str, tuple[list[Any], str]]
    fresh: list[Any]


def quantise_outside(path: Path, target: Path, recipe: Recipe, ranges: Ranges, sink: Sink) -> int:
    """Write the graph ``path`` to ``target``, its weights to ``sink``; gives the products done.

    A weight that several graphs share is quantised once and shared again. Raises EngineError for a
    graph that is quantised already or has no product, EngineMismatch for damaged weights.
    """
    model = onnx.load(path, load_external_data=False)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise EngineError(f"{path} is quantised already; give the directory that was exported")
    coding = CODINGS[_kind(recipe)]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [item for item in find_products(model) if _fits(constants[item.weight], coding)]
    if not products:
        raise EngineError(f"{path.name} holds no matrix product to quantise; leave it out")
    work = _Work(constants, coding, recipe, sink, {}, [])
    replaced = {item.node.output[0]: _rounded_product(item, ranges, work) for item in products}
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if coding.block:
        _raise_opset(model, path)
    drop_unused(model)
    _move_constants(model, sink)
    model.graph.initializer.extend(work.fresh)
    onnx.save(model, str(target))
    return len(products)


def move_graph(path: Path, target: Path, sink: Sink) -> None:
    """Write the graph ``path`` as it is, its weights to ``sink``, which other graphs share."""
    model = onnx.load(path, load_external_data=False)
    _move_constants(model, sink)
    onnx.save(model, str(target))


def _kind(recipe: Recipe) -> str:
    return {"fp8": "fp8", "": "int4"}.get(recipe.activations, "int8")


def _fits(weight: Any, coding: Coding) -> bool:
    """Blocks do not cross rows: TensorRT takes no part of a block."""
    width = prod(weight.dims[1:])
    return is_outside(weight) and not (coding.block and width % coding.block)


def _rounded_product(item: Product, ranges: Ranges, work: _Work) -> list[Any]:
    """The product, behind the nodes that it needs and no earlier one brought. A Gemm becomes a
    product and a sum, so that its bias stays in fp32."""
    nodes: list[Any] = []
    left = item.left
    if work.recipe.activations:
        found = ranges[item.left]
        left = _given(item.left, work, nodes, lambda: _round_left(item, found, work))
    right = _given(item.weight, work, nodes, lambda: _round_weight(item, work))
    name, output = item.node.name, item.node.output[0]
    made = output if item.bias is None else f"{output}_product"
    nodes.append(onnx.helper.make_node("MatMul", [left, right], [made], name=name))
    if item.bias is not None:
        nodes.append(onnx.helper.make_node("Add", [made, item.bias], [output], name=f"{name}_bias"))
    return nodes


def _given(tensor: str, work: _Work, nodes: list[Any], make: Callable[[], list[Any]]) -> str:
    """Name of the rounded ``tensor``; what makes it is put into ``nodes`` the first time."""
    if tensor not in work.added:
        made = make()
        nodes += made
        work.added[tensor] = (made, made[-1].output[0])
    return work.added[tensor][1]


def _round_left(item: Product, found: Range, work: _Work) -> list[Any]:
    """Through the type of the activations and back, one scale for the whole tensor."""
    name = item.left
    scale, zero = _scale_and_zero(found, work.recipe, f"{name}_zero")
    stored = onnx.helper.make_tensor(f"{name}_scale", item.kind, [], [scale])
    work.fresh.extend([stored, zero])
    parameters = [stored.name, zero.name]
    return [
        _node("QuantizeLinear", [name, *parameters], f"{name}_rounded"),
        _node("DequantizeLinear", [f"{name}_rounded", *parameters], f"{name}_back"),
    ]


def _scale_and_zero(found: Range, recipe: Recipe, name: str) -> tuple[float, Any]:
    largest = max(-found.low, found.high, _SMALLEST_RANGE)
    if recipe.activations == "fp8":
        fp8 = onnx.TensorProto.FLOAT8E4M3FN
        return largest / LARGEST, onnx.helper.make_tensor(name, fp8, [], [0.0])
    if recipe.is_symmetric:
        return largest / 127.0, onnx.numpy_helper.from_array(np.array(0, np.int8), name)
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = max(high - low, _SMALLEST_RANGE) / 255.0
    zero = np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
    return scale, onnx.numpy_helper.from_array(zero, name)


def _round_weight(item: Product, work: _Work) -> list[Any]:
    """Codes and scales beside the graph, written unless another graph that shares them did."""
    name = item.weight
    weight, coding, sink = work.constants[name], work.coding, work.sink
    scale_type: Any = onnx.helper.tensor_dtype_to_np_dtype(item.kind)
    place = place_of(weight, sink.source)
    rows, width = weight.dims[0], prod(weight.dims[1:])
    coded: list[Coded] = []

    def encoded() -> Coded:
        if not coded:
            blocks = row_blocks(weight, sink.source)
            coded.append(encode(blocks, (rows, width), coding, scale_type))
        return coded[0]

    scales = [width // coding.block, rows] if coding.block else [rows]
    key = f"{place.key}:{coding.onnx_type}:{item.kind}"
    for suffix, kind, dims, read in (
        (_WEIGHTS, coding.onnx_type, [width, rows], lambda: packed(encoded().codes, coding)),
        (_SCALES, item.kind, scales,
         lambda: encoded().scales.astype(scale_type).reshape(-1).view(np.uint8)),
    ):  # fmt: skip
        tensor = onnx.TensorProto(name=f"{name}_{suffix}", data_type=kind, dims=dims)
        _refer(tensor, place.name, sink.place(place.name, f"{key}:{suffix}", read))
        work.fresh.append(tensor)
    form = {"axis": 0, "block_size": coding.block} if coding.block else {"axis": 1}
    inputs = [f"{name}_{_WEIGHTS}", f"{name}_{_SCALES}"]
    return [_node("DequantizeLinear", inputs, f"{name}_back", **form)]


def _node(kind: str, inputs: list[str], output: str, **attributes: int) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **attributes)


def _move_constants(model: Any, sink: Sink) -> None:
    """Let what lies in the source directory lie in ``sink``, as it is."""
    for tensor in model.graph.initializer:
        if is_outside(tensor):
            place = place_of(tensor, sink.source)
            _refer(tensor, place.name, sink.place(place.name, place.key, _reader(tensor, sink)))


def _reader(tensor: Any, sink: Sink) -> Callable[[], NDArray[np.uint8]]:
    return lambda: raw_bytes(tensor, sink.source)


def _refer(tensor: Any, file: str, region: Region) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", file), ("offset", region.offset), ("length", region.length)):
        tensor.external_data.add(key=key, value=str(value))


def _raise_opset(model: Any, path: Path) -> None:
    """To one that has blocks; the library's converter wants the weights in memory."""
    (standard,) = [item for item in model.opset_import if item.domain == ""]
    if standard.version >= _INT4_OPSET:
        return
    if any(node.op_type == _CHANGED_IN_21 for node in model.graph.node):
        raise EngineError(
            f"{path.name} holds {_CHANGED_IN_21} of opset {standard.version}, which means another "
            f"thing in {_INT4_OPSET}; export with a newer program"
        )
    standard.version = _INT4_OPSET
