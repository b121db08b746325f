"""Constants of an unoptimised trace, computed once: TensorRT wants axes and pieces to be plain.

The weights have no values while this runs; they are hidden, so that nothing that holds one is
folded. Cutting into sequences (SplitToSequence), which TensorRT does not read, becomes Split, and
the softmax of a plain vector of weights runs over a matrix of one row, as TensorRT wants it.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import optimizer
from torch import Tensor

from engine.export.external_weights import is_weight
from engine.export.onnx_file import silence


def fold_constants(model: ir.Model) -> None:
    """Fold what depends on no weight, in place."""
    initializers = model.graph.initializers
    hidden = {name: value.const_value for name, value in initializers.items() if _holds(value)}
    for name in hidden:
        initializers[name].const_value = None
    with silence():
        optimizer.fold_constants(model, onnx_shape_inference=False)
    for name, tensor in hidden.items():
        initializers[name].const_value = tensor
    RemoveUnusedNodesPass()(model)
    lift_vector_softmax(model.graph)


def lift_vector_softmax(graph: ir.Graph) -> None:
    """Softmax of (n,) -> softmax over the rows of (1, n)."""
    for node in list(graph):
        vector = node.inputs[0] if node.op_type == "Softmax" else None
        if vector is None or vector.shape is None or vector.dtype is None:
            continue
        if len(vector.shape) != 1:
            continue
        kind = vector.dtype
        row = _reshaped(graph, node, vector, kind, [1, -1])
        soft = ir.node("Softmax", [row], {"axis": -1})
        graph.insert_before(node, soft)
        soft.outputs[0].name, soft.outputs[0].dtype = f"{node.name}_soft", kind
        found = _reshaped(graph, node, soft.outputs[0], kind, [-1])
        found.shape = vector.shape
        for user, place in list(node.outputs[0].uses()):
            user.replace_input_with(place, found)
        graph.remove(node, safe=True)


def _reshaped(
    graph: ir.Graph, before: ir.Node, value: ir.Value, kind: ir.DataType, sizes: list[int]
) -> ir.Value:
    name = f"{before.name}_of_{len(sizes)}_axes"
    shape = ir.Value(
        name=f"{name}_shape",
        shape=ir.Shape([len(sizes)]),
        type=ir.TensorType(ir.DataType.INT64),
        const_value=ir.tensor(np.array(sizes, np.int64), name=f"{name}_shape"),
    )
    graph.initializers[f"{name}_shape"] = shape
    node = ir.node("Reshape", [value, shape])
    graph.insert_before(before, node)
    node.outputs[0].name, node.outputs[0].dtype = name, kind
    return node.outputs[0]


def _holds(value: ir.Value) -> bool:
    raw = getattr(value.const_value, "raw", None)
    return isinstance(raw, Tensor) and is_weight(raw)
