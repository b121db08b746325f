"""A model directory made by hand: small, exact, and independent of torch.

The graphs fulfil ``engine.contract`` and nothing else. The embedding table is the identity, so that
hidden states show which tokens were read, where, and in which order; the next token follows a
script. ``reference_hidden`` computes the same language model in numpy, without a cache.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from engine.contract import GRAPHS, MANIFEST_VERSION, GraphSpec, describe_tensors
from tracevlm_ros.core.tokens import special_tokens

PLACES = ("(250,500)", "(750,250)")
WORDS = ("[UNK]", "a", "red", "ball", "what", "is", "it", "colour", "?", "end", "trace", "of")
TOKENS = (*special_tokens(), *WORDS, *PLACES)
IDS = {token: index for index, token in enumerate(TOKENS)}
WIDTH = len(TOKENS)
SCRIPT = {"<|answer|>": "a", "a": "red", "red": "ball", "ball": "[SEG]"}
SIZES = {
    "H": 16,
    "W": 16,
    "N": 4,
    "D": WIDTH,
    "K": 5,
    "vocab": WIDTH,
    "layers": 1,
    "kv_heads": 1,
    "head_dim": WIDTH,
    "C_deep": 3,
    "h_deep": 4,
    "w_deep": 4,
    "C_shallow": 3,
    "h_shallow": 8,
    "w_shallow": 8,
    "h_mask": 8,
    "w_mask": 8,
}
STATIC_SIZES = {"C": 40}
LIMITS = {"max_traces": 3, "max_prompt_tokens": 24, "max_new_tokens": 6}
PAST_WEIGHT = 0.001
POSITION_WEIGHT = 0.01
CERTAINTY = 8.0
_DTYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
_Node = tuple[str, Sequence[str], str, dict[str, Any]]


def write_tiny_model(directory: Path, script: Mapping[str, str] = SCRIPT, **learned: bool) -> Path:
    """Write a model whose answer follows ``script`` (token -> next token); ``learned`` goes into
    the manifest's section of the prompt."""
    directory.mkdir(parents=True, exist_ok=True)
    makers = {"vision": _vision, "tvp": _tvp, "mask": _mask}
    for name in ("vision", "tvp", "mask"):
        save_graph(directory, name, *makers[name]())
    for name in ("prefill", "decode"):
        save_graph(directory, name, *_language(name == "decode", successor(script)))
    np.save(directory / "embeddings.npy", np.eye(WIDTH, dtype=np.float32))
    tokenizer = Tokenizer(models.WordLevel(IDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(special_tokens()))
    tokenizer.save(str(directory / "tokenizer.json"))
    document = manifest()
    document["prompt"] |= learned
    seal(directory, document)
    return directory


def manifest() -> dict[str, Any]:
    """Everything but ``files``."""
    return {
        "version": MANIFEST_VERSION,
        "model_id": "tiny",
        "precision": "fp32",
        "sizes": dict(SIZES),
        "limits": dict(LIMITS),
        "graphs": {
            name: {
                "file": f"{name}.onnx",
                "inputs": describe_tensors(spec.inputs, SIZES),
                "outputs": describe_tensors(spec.outputs, SIZES),
            }
            for name, spec in GRAPHS.items()
        },
        "preprocessing": {
            "function": "tracevlm_ros.core.preprocess.fit_image",
            "size_hw": [16, 16],
            "colour": "RGB",
        },
        "tokenizer": {"library": "tokenizers", "file": "tokenizer.json"},
        "prompt": {"grid_hw": [2, 2]},
        "provenance": {"made": "by hand"},
    }


def seal(directory: Path, document: Mapping[str, Any]) -> None:
    """Write ``document`` with the true sizes and hashes of the files beside it."""
    files = {}
    for path in directory.iterdir():
        if path.name != "manifest.json":
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            files[path.name] = {"bytes": len(content), "sha256": digest}
    (directory / "manifest.json").write_text(json.dumps({**document, "files": files}))


def successor(script: Mapping[str, str]) -> NDArray[np.float32]:
    """(vocab, vocab): hidden state of a token -> logits of the next one."""
    matrix = np.zeros((WIDTH, WIDTH), np.float32)
    for token, following in script.items():
        matrix[IDS[token], IDS[following]] = CERTAINTY
    return matrix


def reference_hidden(
    embeddings: NDArray[np.float32], position_ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Hidden states (L, D) of a whole sequence: (L, D) embeddings, (3, L) rope ids."""
    keys = embeddings + POSITION_WEIGHT * position_ids.sum(axis=0)[:, None]
    rows = [
        embeddings[i] + PAST_WEIGHT * (keys[: i + 1].sum(0) + 0.5 * embeddings[: i + 1].sum(0))
        for i in range(len(embeddings))
    ]
    return np.asarray(rows, dtype=np.float64)


def save_graph(
    directory: Path,
    name: str,
    nodes: Sequence[_Node],
    constants: Mapping[str, Any],
    spec: GraphSpec | None = None,
    opset: int = 18,
) -> None:
    """Write graph ``name`` of ``spec``, that of the primitive flavour where none is given."""
    spec = spec or GRAPHS[name]

    def infos(side: Mapping[str, Any]) -> list[Any]:
        described = describe_tensors(side, SIZES | STATIC_SIZES)
        return [
            helper.make_tensor_value_info(key, _DTYPES[value["dtype"]], value["shape"])
            for key, value in described.items()
        ]

    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **extra) for op, inputs, output, extra in nodes],
        name,
        infos(spec.inputs),
        infos(spec.outputs),
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(directory / f"{name}.onnx"))


def _random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _vision() -> tuple[list[_Node], dict[str, Any]]:
    def pool(side: int) -> dict[str, Any]:
        return {"kernel_shape": [16 // side] * 2, "strides": [16 // side] * 2}

    nodes: list[_Node] = [
        ("Cast", ["image"], "float", {"to": TensorProto.FLOAT}),
        ("Div", ["float", "white"], "unit", {}),
        ("Transpose", ["unit"], "planes", {"perm": [0, 3, 1, 2]}),
        ("AveragePool", ["planes"], "shallow", pool(8)),
        ("AveragePool", ["planes"], "deep", pool(4)),
        ("AveragePool", ["planes"], "grid", pool(2)),
        ("Reshape", ["grid", "flat"], "rows", {}),
        ("Transpose", ["rows"], "cells", {"perm": [0, 2, 1]}),
        ("MatMul", ["cells", "project"], "tokens", {}),
    ]
    constants = {
        "white": np.float32(255),
        "flat": np.array([1, 3, 4]),
        "project": _random(3, WIDTH),
    }
    return nodes, constants


def _tvp() -> tuple[list[_Node], dict[str, Any]]:
    nodes: list[_Node] = [
        ("Unsqueeze", ["valid", "last"], "present", {}),
        ("MatMul", ["points", "project"], "placed", {}),
        ("Add", ["dt_s", "pen_up"], "when", {}),
        ("Unsqueeze", ["when", "last"], "late", {}),
        ("Add", ["placed", "late"], "raw", {}),
        ("Mul", ["raw", "present"], "trace_tokens", {}),
        ("ReduceSum", ["trace_tokens", "middle"], "total", {}),
        ("Add", ["tokens", "total"], "enhanced", {}),
    ]
    constants = {
        "last": np.array([-1]),
        "middle": np.array([1]),
        "project": _random(2, WIDTH),
    }
    return nodes, constants


def _mask() -> tuple[list[_Node], dict[str, Any]]:
    nodes: list[_Node] = [
        ("ReduceMean", ["shallow", "one"], "fine", {"keepdims": 0}),
        ("ReduceMean", ["deep", "inner"], "level", {"keepdims": 0}),
        ("ReduceMean", ["enhanced", "both"], "seen", {"keepdims": 0}),
        ("Unsqueeze", ["valid", "last"], "present", {}),
        ("Mul", ["trace_tokens", "present"], "kept", {}),
        ("ReduceSum", ["kept", "both"], "traced", {"keepdims": 0}),
        ("ReduceMean", ["seg_embeddings", "both"], "asked", {"keepdims": 0}),
        ("ReduceMean", ["prior", "both"], "before", {"keepdims": 0}),
        ("Sum", ["seen", "traced", "asked", "level", "before"], "score", {}),
        ("Unsqueeze", ["score", "both"], "scores", {}),
        ("Add", ["fine", "scores"], "mask_logits", {}),
    ]
    constants = {
        "one": np.array([1]),
        "inner": np.array([1, 2, 3]),
        "both": np.array([1, 2]),
        "last": np.array([-1]),
    }
    return nodes, constants


def _language(
    with_past: bool, following: NDArray[np.float32]
) -> tuple[list[_Node], dict[str, Any]]:
    key, value = ("new_key", "new_value") if with_past else ("keys", "values")
    hidden = "hidden" if with_past else "all_hidden"
    nodes: list[_Node] = [
        ("Cast", ["position_ids"], "rope", {"to": TensorProto.FLOAT}),
        ("ReduceSum", ["rope", "first"], "place", {"keepdims": 0}),
        ("Unsqueeze", ["place", "last"], "places", {}),
        ("Mul", ["places", "position_weight"], "shift", {}),
        ("Add", ["embeddings", "shift"], "flat_keys", {}),
        ("Mul", ["embeddings", "half"], "flat_values", {}),
        ("Unsqueeze", ["flat_keys", "front"], key, {}),
        ("Unsqueeze", ["flat_values", "front"], value, {}),
        ("Add", ["flat_keys", "flat_values"], "read", {}),
        ("CumSum", ["read", "axis"], "summed", {}),
    ]
    total = "summed"
    if with_past:
        nodes += [
            ("Add", ["past_keys", "past_values"], "past", {}),
            ("ReduceSum", ["past", "token_axis"], "before", {"keepdims": 0}),
            ("Reshape", ["before", "one_row"], "start", {}),
            ("Add", ["summed", "start"], "since_start", {}),
            ("Concat", ["past_keys", key], "keys", {"axis": 3}),
            ("Concat", ["past_values", value], "values", {"axis": 3}),
        ]
        total = "since_start"
    nodes += [
        ("Mul", [total, "past_weight"], "context", {}),
        ("Add", ["embeddings", "context"], hidden, {}),
    ]
    if not with_past:
        nodes.append(("Slice", [hidden, "from", "to", "axis_1"], "hidden", {}))
    nodes.append(("MatMul", ["hidden", "following"], "logits", {}))
    constants = {
        "first": np.array([0]),
        "last": np.array([-1]),
        "front": np.array([0, 1]),
        "axis": np.int64(1),
        "half": np.float32(0.5),
        "position_weight": np.float32(POSITION_WEIGHT),
        "past_weight": np.float32(PAST_WEIGHT),
        "following": following,
    }
    past = {"token_axis": np.array([3]), "one_row": np.array([1, 1, WIDTH])}
    whole = {"from": np.array([-1]), "to": np.array([2**31]), "axis_1": np.array([1])}
    return nodes, {**constants, **(past if with_past else whole)}
