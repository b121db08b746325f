"""What is changed in a traced graph so that TensorRT reads it."""

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch", reason="export needs the extra [train]")

import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from engine.export.folding import lift_vector_softmax


def test_a_softmax_of_a_vector_runs_over_one_row_and_says_the_same() -> None:
    weights = numpy_helper.from_array(np.array([0.3, -1.0, 2.0], np.float32), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["weights"], ["shares"], name="fuse", axis=-1),
            helper.make_node("Mul", ["x", "shares"], ["y"]),
        ],
        "fusing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [weights],
    )
    before = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    model = ir.from_proto(before)
    lift_vector_softmax(model.graph)
    after = ir.to_proto(model)
    kinds = [node.op_type for node in after.graph.node]
    assert kinds == ["Reshape", "Softmax", "Reshape", "Mul"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found, wanted = (
        onnxruntime.InferenceSession(item.SerializeToString()).run(None, {"x": x})[0]
        for item in (after, before)
    )
    np.testing.assert_array_equal(found, wanted)
