"""FP8 (E4M3) matrix products by explicit Q/DQ, as every TensorRT from 10 reads them.

Weights have a scale per output channel. Activations have one scale for all, which nothing has
measured: right for random weights, whose speed is asked and not their answers. Calibrated
precisions are made from a finished directory by ``tracevlm quantize``.
"""

import onnx_ir as ir
import torch
from torch import Tensor

from engine.export.external_weights import Read, WeightsFile, outside

LARGEST = 448.0
ACTIVATION_SCALE = 1.0 / 16.0
_FLOAT8 = ir.DataType.FLOAT8E4M3FN


def quantise_products(model: ir.Model, weights: WeightsFile, read: Read) -> int:
    """Let every product with a transposed weight run in FP8; gives how many there are.

    The weights are written to ``weights``; the rest of the graph keeps its type.
    """
    graph, count = model.graph, 0
    for node in list(graph):
        if node.op_type != "MatMul":
            continue
        turned = node.inputs[1].producer() if node.inputs[1] is not None else None
        weight = turned.inputs[0] if turned is not None and turned.op_type == "Transpose" else None
        if weight is None or weight.name not in graph.initializers or weight.producer() is not None:
            continue
        assert turned is not None
        turned.replace_input_with(0, _weight(graph, weight, weights, read))
        node.replace_input_with(0, _rounded(graph, node, str(weight.name)))
        count += 1
    return count


def _weight(graph: ir.Graph, weight: ir.Value, weights: WeightsFile, read: Read) -> ir.Value:
    """The dequantised weight (out, in), of its old type."""
    name, computed = str(weight.name), weight.dtype
    assert computed is not None
    given = read(name, torch.bfloat16).to(torch.bfloat16)
    scales = channel_scales(given)
    scale = ir.Value(
        name=f"{name}_scale", shape=ir.Shape([given.shape[0]]), type=ir.TensorType(computed)
    )
    graph.initializers[f"{name}_scale"] = scale
    outside(scale, weights.place(f"{name}_scale", lambda: scales), weights.path)
    placed = weights.place(f"{name}_fp8", lambda: as_float8(given, scales))
    outside(weight, placed, weights.path)
    back = ir.node("DequantizeLinear", [weight, scale], {"axis": 0})
    return _inserted(graph, graph[0], back, computed, f"{name}_dequantised")


def _rounded(graph: ir.Graph, product: ir.Node, name: str) -> ir.Value:
    """The product's left side, through FP8 and back."""
    left = product.inputs[0]
    assert left is not None and left.dtype is not None
    scale = _constant(graph, f"{name}_input_scale", ACTIVATION_SCALE, left.dtype)
    zero = _constant(graph, f"{name}_input_zero", 0.0, _FLOAT8)
    down = ir.node("QuantizeLinear", [left, scale, zero])
    small = _inserted(graph, product, down, _FLOAT8, f"{name}_input_fp8")
    up = ir.node("DequantizeLinear", [small, scale, zero])
    return _inserted(graph, product, up, left.dtype, f"{name}_input_dequantised")


def _inserted(
    graph: ir.Graph, before: ir.Node, node: ir.Node, dtype: ir.DataType, name: str
) -> ir.Value:
    graph.insert_before(before, node)
    node.outputs[0].name, node.outputs[0].dtype = name, dtype
    return node.outputs[0]


def _constant(graph: ir.Graph, name: str, number: float, dtype: ir.DataType) -> ir.Value:
    tensor = ir.tensor([number], dtype=dtype, name=name)
    scalar = ir.Tensor(tensor.numpy().reshape(()), dtype=dtype, shape=ir.Shape([]), name=name)
    value = ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(dtype), const_value=scalar)
    graph.initializers[name] = value
    return value


def channel_scales(weight: Tensor) -> Tensor:
    """(out,) of the weight's type: the largest magnitude of each row becomes 448."""
    return (weight.float().abs().amax(1) / LARGEST).clamp(min=1e-6).to(weight.dtype)


def as_float8(weight: Tensor, scales: Tensor) -> Tensor:
    rows = weight.float() / scales.float()[:, None]
    return rows.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
