"""Finds the matrix products of a graph whose second factor is a weight, stored as (out, in)."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import onnx

_TURNED = [1, 0]


class Product(NamedTuple):
    """``x @ weight.T`` or, with a bias, a Gemm. ``weight`` names a constant whose first axis is the
    output; its others are flattened. ``as_stored`` is the value before it is turned, ``kind`` the
    ONNX type in which it is multiplied."""

    node: Any
    left: str
    weight: str
    as_stored: str
    bias: str | None
    kind: int


class _Graph(NamedTuple):
    makers: Mapping[str, Any]
    constants: Mapping[str, Any]


def find_products(model: Any) -> list[Product]:
    """MatMul with a turned weight, and Gemm with ``transB``, in the order of the graph.

    Between weight and product may stand a Cast (a narrower type was stored) and a Reshape that
    keeps the first axis.
    """
    graph = _Graph(
        {name: node for node in model.graph.node for name in node.output},
        {tensor.name: tensor for tensor in model.graph.initializer},
    )
    return [found for node in model.graph.node for found in _product(node, graph)]


def _product(node: Any, graph: _Graph) -> Iterator[Product]:
    as_stored, bias = "", None
    if node.op_type == "MatMul":
        turning = graph.makers.get(node.input[1])
        if turning is not None and _is_turning(turning):
            as_stored = turning.input[0]
    elif node.op_type == "Gemm" and _is_plain_gemm(node):
        as_stored = node.input[1]
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    weight, kind = _stored_weight(as_stored, graph)
    if weight is not None:
        yield Product(node, node.input[0], weight, as_stored, bias, kind)


def _stored_weight(name: str, graph: _Graph) -> tuple[str | None, int]:
    """Name of the constant behind ``name``, and the type that ``name`` has."""
    kind, rows = 0, set()
    while name not in graph.constants:
        node = graph.makers.get(name)
        if node is None or node.op_type not in ("Cast", "Reshape"):
            return None, kind
        if node.op_type == "Cast":
            kind = kind or attributes(node)["to"]
        else:
            rows.add(_rows_asked(node, graph))
        name = node.input[0]
    constant = graph.constants[name]
    is_weight = len(constant.dims) >= 2 and rows <= {constant.dims[0]}
    return name if is_weight else None, kind or constant.data_type


def _rows_asked(node: Any, graph: _Graph) -> int | None:
    """Of a Reshape to (rows, everything else)."""
    shape = graph.constants.get(node.input[1])
    asked = [] if shape is None else onnx.numpy_helper.to_array(shape).tolist()
    return int(asked[0]) if len(asked) == 2 else None


def _is_turning(node: Any) -> bool:
    return bool(node.op_type == "Transpose" and attributes(node).get("perm", _TURNED) == _TURNED)


def _is_plain_gemm(node: Any) -> bool:
    given = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | attributes(node)
    return given == {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


def attributes(node: Any) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def drop_unused(model: Any) -> None:
    """Remove nodes and constants that no output needs."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    made = {name for node in kept for name in node.output}
    known = [value for value in graph.value_info if value.name in made]
    for field, values in (
        (graph.node, kept[::-1]), (graph.initializer, constants), (graph.value_info, known)
    ):  # fmt: skip
        del field[:]
        field.extend(values)
