"""Weights of an ONNX graph stored in half the space. Needs no torch."""

from typing import Any

import numpy as np
import onnx

_STORED_AS_FP32_BELOW = 1024


def store_as_fp16(model: Any) -> None:
    """Replace each large fp32 initializer that fp16 holds exactly by an fp16 one and a Cast.

    The cast bears the old name. What other precisions need in fp32 (scales) is small and stays.
    """
    casts = []
    for tensor in model.graph.initializer:
        count = int(np.prod(tensor.dims))
        if tensor.data_type != onnx.TensorProto.FLOAT or count < _STORED_AS_FP32_BELOW:
            continue
        name = tensor.name
        values = onnx.numpy_helper.to_array(tensor)
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue
        stored = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16")
        tensor.CopyFrom(stored)
        casts.append(
            onnx.helper.make_node("Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
