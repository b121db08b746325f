"""The contract between whoever writes a model directory and whoever runs it.

A model directory holds ``manifest.json``, one ONNX file per graph, ``embeddings.npy`` (token
embedding table, looked up on the host) and ``tokenizer.json``. This module names every tensor.
Symbols in shapes: N merged visual tokens, D language width, T traces in one call, K keypoint
slots per trace (padded, see ``valid``), L prompt tokens, S steps in one decode call (1 for text,
6 for the codebook), P tokens in the cache, C* channels, h*/w* feature sizes.

``manifest.json`` (what a reader asks for; more keys are allowed and ignored)::

    version      MANIFEST_VERSION
    model_id     name shown in captions
    precision    "fp32", "int8", ... as exported
    sizes        every symbol of GRAPHS that is not in PER_CALL -> integer; K is the number of
                 keypoint slots that callers pad to
    limits       {"max_traces", "max_prompt_tokens", "max_new_tokens"} -> integer
    graphs       name of GRAPHS -> {"file", "inputs", "outputs"}, the last two as written by
                 ``describe_tensors``
    files        every other file of the directory -> {"bytes", "sha256"}, external data included
    preprocessing, tokenizer, prompt, provenance   sections owned by those who write them
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
CODEBOOK_TOKENS = 6
EMBEDDINGS_NAME = "embeddings.npy"
TOKENIZER_NAME = "tokenizer.json"
PER_CALL = ("T", "L", "S", "P", "P+S")
"""Symbols that each call chooses; all others are fixed by the manifest's ``sizes``."""


class TensorSpec(NamedTuple):
    """``shape`` holds integers for fixed sizes and symbols (strings) for the manifest's sizes."""

    dtype: str
    shape: tuple[int | str, ...]


class GraphSpec(NamedTuple):
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


_CACHE = TensorSpec("float32", ("layers", 1, "kv_heads", "P", "head_dim"))
_CACHE_GROWN = TensorSpec("float32", ("layers", 1, "kv_heads", "P+S", "head_dim"))

GRAPHS: dict[str, GraphSpec] = {
    # The camera image, already resized (stretched) to the model's size; normalised in the graph.
    "vision": GraphSpec(
        inputs={"image": TensorSpec("uint8", (1, "H", "W", 3))},
        outputs={
            "tokens": TensorSpec("float32", (1, "N", "D")),
            "deep": TensorSpec("float32", (1, "C_deep", "h_deep", "w_deep")),
            "shallow": TensorSpec("float32", (1, "C_shallow", "h_shallow", "w_shallow")),
        },
    ),
    # T traces over the same frame. valid is 1 for real keypoints, 0 for padding.
    "tvp": GraphSpec(
        inputs={
            "tokens": TensorSpec("float32", (1, "N", "D")),
            "points": TensorSpec("float32", ("T", "K", 2)),
            "dt_s": TensorSpec("float32", ("T", "K")),
            "pen_up": TensorSpec("float32", ("T", "K")),
            "valid": TensorSpec("float32", ("T", "K")),
        },
        outputs={
            "enhanced": TensorSpec("float32", ("T", "N", "D")),
            "trace_tokens": TensorSpec("float32", ("T", "K", "D")),
        },
    ),
    # The whole prompt as embeddings; rope ids are computed on the host (3 = time, row, column).
    "prefill": GraphSpec(
        inputs={
            "embeddings": TensorSpec("float32", (1, "L", "D")),
            "position_ids": TensorSpec("int64", (3, 1, "L")),
        },
        outputs={
            "logits": TensorSpec("float32", (1, 1, "vocab")),
            "hidden": TensorSpec("float32", (1, 1, "D")),
            "keys": TensorSpec("float32", ("layers", 1, "kv_heads", "L", "head_dim")),
            "values": TensorSpec("float32", ("layers", 1, "kv_heads", "L", "head_dim")),
        },
    ),
    # S new tokens after P cached ones, causal among themselves.
    "decode": GraphSpec(
        inputs={
            "embeddings": TensorSpec("float32", (1, "S", "D")),
            "position_ids": TensorSpec("int64", (3, 1, "S")),
            "past_keys": _CACHE,
            "past_values": _CACHE,
        },
        outputs={
            "logits": TensorSpec("float32", (1, "S", "vocab")),
            "hidden": TensorSpec("float32", (1, "S", "D")),
            "keys": _CACHE_GROWN,
            "values": _CACHE_GROWN,
        },
    ),
    # deep and shallow are shared by the T traces of the frame.
    "mask": GraphSpec(
        inputs={
            "deep": TensorSpec("float32", (1, "C_deep", "h_deep", "w_deep")),
            "shallow": TensorSpec("float32", (1, "C_shallow", "h_shallow", "w_shallow")),
            "enhanced": TensorSpec("float32", ("T", "N", "D")),
            "trace_tokens": TensorSpec("float32", ("T", "K", "D")),
            "valid": TensorSpec("float32", ("T", "K")),
            "seg_embeddings": TensorSpec("float32", ("T", CODEBOOK_TOKENS, "D")),
        },
        outputs={"mask_logits": TensorSpec("float32", ("T", "h_mask", "w_mask"))},
    ),
}


def size_symbols() -> tuple[str, ...]:
    """The symbols that ``sizes`` of a manifest must give, sorted."""
    specs = (spec for graph in GRAPHS.values() for side in graph for spec in side.values())
    found = {size for spec in specs for size in spec.shape if isinstance(size, str)}
    return tuple(sorted(found - set(PER_CALL)))


def resolve(spec: TensorSpec, sizes: Mapping[str, int]) -> TensorSpec:
    """``spec`` with every fixed symbol replaced by its integer; symbols of PER_CALL stay.

    Raises KeyError for a fixed symbol that ``sizes`` lacks.
    """
    shape = tuple(
        size if isinstance(size, int) or size in PER_CALL else sizes[size] for size in spec.shape
    )
    return TensorSpec(spec.dtype, shape)


def describe_tensors(
    specs: Mapping[str, TensorSpec], sizes: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Tensor name -> {"dtype", "shape"} as a manifest holds them, fixed sizes filled in."""
    resolved = {name: resolve(spec, sizes) for name, spec in specs.items()}
    return {
        name: {"dtype": spec.dtype, "shape": list(spec.shape)} for name, spec in resolved.items()
    }
