"""Constants of an unoptimised trace, computed once: TensorRT wants axes and pieces to be plain.

The weights have no values while this runs; they are hidden, so that nothing that holds one is
folded. Cutting into sequences (SplitToSequence), which TensorRT does not read, becomes Split.
"""

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


def _holds(value: ir.Value) -> bool:
    raw = getattr(value.const_value, "raw", None)
    return isinstance(raw, Tensor) and is_weight(raw)
