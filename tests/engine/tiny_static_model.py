"""The tiny model with a static cache: a hidden state is the sum of the tokens that it may see."""

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto

from engine.contract import STATIC_CACHE, describe_tensors, graph_specs
from tests.engine.tiny_model import (
    SCRIPT,
    SIZES,
    STATIC_SIZES,
    save_graph,
    seal,
    successor,
    write_tiny_model,
)

SPECS = graph_specs(STATIC_CACHE, layers=1)


def write_tiny_static_model(directory: Path) -> Path:
    """The other graphs are those of the tiny model."""
    write_tiny_model(directory)
    (directory / "prefill.onnx").unlink()
    scatter = {"axis": 2, "mode": "linear"}
    nodes = [
        ("Unsqueeze", ["embeddings", "heads"], "own", {}),
        ("TensorScatter", ["keys_0", "own", "write_index"], "new_keys_0", scatter),
        ("TensorScatter", ["values_0", "own", "write_index"], "new_values_0", scatter),
        ("Cast", ["mask"], "seen", {"to": TensorProto.FLOAT}),
        ("MatMul", ["seen", "new_keys_0"], "sums", {}),
        ("Squeeze", ["sums", "heads"], "summed", {}),
        ("Add", ["summed", "nothing"], "hidden", {}),
        ("Slice", ["embeddings", "last", "end", "axis"], "newest", {}),
        ("MatMul", ["newest", "following"], "scores", {}),
        ("Add", ["scores", "nothing"], "logits", {}),
        ("ReduceSum", ["position_ids"], "places", {"keepdims": 0}),
    ]
    constants = {
        "heads": np.array([1]),
        "nothing": np.float32(0),
        "last": np.array([-1]),
        "end": np.array([2**31]),
        "axis": np.array([1]),
        "following": successor(SCRIPT),
    }
    save_graph(directory, "decode", nodes, constants, SPECS["decode"], opset=24)
    document = json.loads((directory / "manifest.json").read_text())
    sizes = SIZES | STATIC_SIZES
    graphs = {
        name: {
            "file": f"{name}.onnx",
            "inputs": describe_tensors(spec.inputs, sizes),
            "outputs": describe_tensors(spec.outputs, sizes),
        }
        for name, spec in SPECS.items()
    }
    changed = {"flavour": STATIC_CACHE, "sizes": sizes, "graphs": graphs}
    seal(directory, {**document, **changed})
    return directory


def summed(tokens: np.ndarray) -> np.ndarray:
    """What the graph computes of all ``tokens`` (L, D) so far."""
    return np.cumsum(tokens, axis=0)
