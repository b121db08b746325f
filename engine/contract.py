"""The contract between whoever writes a model directory and whoever runs it.

A model directory holds ``manifest.json``, one ONNX file per graph, ``embeddings.npy`` (token
embedding table, looked up on the host) and ``tokenizer.json``. This module names every tensor.
Symbols in shapes: N merged visual tokens, D language width, T traces in one call, K keypoint
slots per trace (padded, see ``valid``), L prompt tokens, S steps in one decode call (1 for text,
6 for the codebook), P tokens in the cache, C* channels, h*/w* feature sizes.
"""

from typing import NamedTuple

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1
CODEBOOK_TOKENS = 6


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
