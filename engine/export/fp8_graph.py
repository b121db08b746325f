"""FP8 (E4M3) by explicit Q/DQ round the products of one graph.

onnxruntime.quantization picks FP8 scales from the spread of a tensor and cuts what lies beyond;
TensorRT's convention, used here, maps the largest magnitude to the largest FP8 number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from tracevlm_ros.core.errors import EngineError

LARGEST = 448.0
"""Of E4M3."""
_OPSET = 19
_FP8 = onnx.TensorProto.FLOAT8E4M3FN


def insert_fp8(model: Any, products: Sequence[str], largest: Mapping[str, float]) -> Any:
    """``model`` with Q and DQ before both factors of each product.

    ``largest``: tensor -> largest magnitude seen. Weights are stored in FP8, one scale per tensor.
    """
    if model.opset_import[0].version < _OPSET:
        model = onnx.version_converter.convert_version(model, _OPSET)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    zero = onnx.helper.make_tensor("fp8_zero", _FP8, [], [0.0])
    added: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.name in products:
            for place in (0, 1):
                name = node.input[place]
                if name not in added:
                    values = constants.get(name)
                    added[name] = (
                        _activation(name, largest, graph)
                        if values is None
                        else _weights(values, graph)
                    )
                node.input[place] = f"{name}_fp8_dq"
    graph.initializer.append(zero)
    _place(graph, added)
    return model


def _activation(name: str, largest: Mapping[str, float], graph: Any) -> list[Any]:
    if name not in largest:
        raise EngineError(f"no range of tensor '{name}' was measured; this is a bug, report it")
    _add_scale(name, largest[name], graph)
    return [
        _node("QuantizeLinear", name, name, f"{name}_fp8"),
        _node("DequantizeLinear", f"{name}_fp8", name, f"{name}_fp8_dq"),
    ]


def _weights(tensor: Any, graph: Any) -> list[Any]:
    values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    scale = _add_scale(tensor.name, float(np.abs(values).max()), graph)
    stored = (values / scale).astype(ml_dtypes.float8_e4m3fn)
    raw = onnx.helper.make_tensor(
        f"{tensor.name}_fp8", _FP8, values.shape, stored.tobytes(), raw=True
    )
    graph.initializer.append(raw)
    return [_node("DequantizeLinear", raw.name, tensor.name, f"{tensor.name}_fp8_dq")]


def _add_scale(name: str, largest: float, graph: Any) -> np.float32:
    scale = np.float32(max(largest, 1e-6) / LARGEST)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(scale), f"{name}_fp8_scale"))
    return scale


def _node(kind: str, source: str, tensor: str, target: str) -> Any:
    return onnx.helper.make_node(
        kind, [source, f"{tensor}_fp8_scale", "fp8_zero"], [target], name=f"{target}_{kind}"
    )


def _place(graph: Any, added: Mapping[str, list[Any]]) -> None:
    """Each new pair stands right after what makes its tensor; weights left unused are dropped."""
    ordered = [node for name, nodes in added.items() if not _is_made(graph, name) for node in nodes]
    for node in graph.node:
        ordered.append(node)
        for output in node.output:
            ordered += added.get(output, [])
    used = {name for node in ordered for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend(kept)


def _is_made(graph: Any, name: str) -> bool:
    return any(name in node.output for node in graph.node)
