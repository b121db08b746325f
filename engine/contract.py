"""The contract between whoever writes a model directory and whoever runs it.

A model directory holds ``manifest.json``, one ONNX file per graph, ``embeddings.npy`` (token
embedding table, looked up on the host) and ``tokenizer.json``. This module names every tensor.
Symbols in shapes: N merged visual tokens, D language width, T traces in one call, K keypoint
slots per trace (padded, see ``valid``), L prompt tokens, S steps in one decode call (1 for text,
7 for ``[SEG]`` and the codebook), B answers in one decode call, P tokens in the cache, C the
capacity of a static cache, M points to track, C_* channels, h*/w* feature sizes.

The flavour says how the language graphs keep their cache. ``primitive`` (opset 20, for every
parser): an explicit cache that each call returns grown. ``static-cache`` (opset 24): two buffers
per layer of capacity C, written in place at ``write_index``, and an explicit boolean mask. There,
``decode`` reads prompts too and there is no ``prefill``: compiled apart, each would hold
all weights.

``manifest.json`` (what a reader asks for; more keys are allowed and ignored)::

    version      MANIFEST_VERSION
    model_id     name shown in captions
    flavour      of FLAVOURS; absent means "primitive"
    precision    "fp32", "int8", ... as exported
    embeddings_dtype   "float32" (where absent), "float16" or "bfloat16" (kept as uint16)
    cache_dtype        type of a static cache, "float32" where absent
    sizes        every symbol of GRAPHS that is not in PER_CALL -> integer; K is the number of
                 keypoint slots that callers pad to
    limits       {"max_traces", "max_prompt_tokens", "max_new_tokens"} -> integer; "max_answers",
                 absent for 1: above it, one call of a primitive ``decode`` reads on up to so many
                 answers (``_JOINT_DECODE``)
    graphs       name of ``graph_specs`` -> {"file", "inputs", "outputs"}, the last two as written
                 by ``describe_tensors``; "track" and "words" may be absent
    files        every other file of the directory -> {"bytes", "sha256"}, external data included
    preprocessing  {"function": PREPROCESSING, "size_hw": [H, W], "colour": COLOUR}: how a frame
                 becomes the input of "vision"
    tokenizer    {"library": TOKENIZER_LIBRARY, "file": TOKENIZER_NAME}; its hash is in files
    provenance   where the weights are from; owned by those who write it
    prompt       owned by the layout that it names; prompt["masks_from_stroke"] true: the graph
                 "mask" reads the stroke and the prior, and gives a mask before any word;
                 prompt["dialogues"] true: trained on dialogues; prompt["locates"] true: trained to
                 find what a text describes, by the graph "words" where there is one, else by the
                 trace that it writes
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 2
CODEBOOK_TOKENS = 6
EMBEDDINGS_NAME = "embeddings.npy"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_LIBRARY = "tokenizers"
TRACE_GATE_NAME = "trace_gate.npy"
PARITY_NAME = "parity.json"
PREPROCESSING = "tracevlm_ros.core.preprocess.fit_image"
COLOUR = "RGB"
SECTIONS = ("preprocessing", "tokenizer", "prompt", "provenance")
PER_CALL = ("T", "L", "B", "S", "P", "P+S", "M")
"""Symbols that each call chooses; all others are fixed by the manifest's ``sizes``."""

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "uint8": 1,
              "bool": 1}  # fmt: skip
"""Types of tensors, in bytes per number. NumPy lacks bfloat16: such tensors stay on the device."""


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
    # deep and shallow are shared by the T traces of the frame. points, pen_up and valid are those
    # of tvp. prior is the mask of a moment ago carried to this frame, 0..1; all 0 where there is
    # none. seg_embeddings of 0 ask for what the stroke alone tells.
    "mask": GraphSpec(
        inputs={
            "deep": TensorSpec("float32", (1, "C_deep", "h_deep", "w_deep")),
            "shallow": TensorSpec("float32", (1, "C_shallow", "h_shallow", "w_shallow")),
            "enhanced": TensorSpec("float32", ("T", "N", "D")),
            "trace_tokens": TensorSpec("float32", ("T", "K", "D")),
            "points": TensorSpec("float32", ("T", "K", 2)),
            "pen_up": TensorSpec("float32", ("T", "K")),
            "valid": TensorSpec("float32", ("T", "K")),
            "prior": TensorSpec("float32", ("T", "h_shallow", "w_shallow")),
            "seg_embeddings": TensorSpec("float32", ("T", CODEBOOK_TOKENS, "D")),
        },
        outputs={"mask_logits": TensorSpec("float32", ("T", "h_mask", "w_mask"))},
    ),
}


_JOINT_CACHE = TensorSpec("float32", ("layers", "B", "kv_heads", "P", "head_dim"))
_JOINT_CACHE_GROWN = TensorSpec("float32", ("layers", "B", "kv_heads", "P+S", "head_dim"))
# S new tokens of each of B answers. Their caches end together and begin where they may: the first
# ``skipped`` places of a row are padding that nothing looks at.
_JOINT_DECODE = GraphSpec(
    inputs={
        "embeddings": TensorSpec("float32", ("B", "S", "D")),
        "position_ids": TensorSpec("int64", (3, "B", "S")),
        "past_keys": _JOINT_CACHE,
        "past_values": _JOINT_CACHE,
        "skipped": TensorSpec("int64", ("B",)),
    },
    outputs={
        "logits": TensorSpec("float32", ("B", "S", "vocab")),
        "hidden": TensorSpec("float32", ("B", "S", "D")),
        "keys": _JOINT_CACHE_GROWN,
        "values": _JOINT_CACHE_GROWN,
    },
)

PRIMITIVE, STATIC_CACHE = "primitive", "static-cache"
FLAVOURS = (PRIMITIVE, STATIC_CACHE)
TRACK, WORDS = "track", "words"
TRACK_LEVELS = 4
NEW = "new_"
"""Before the name of a static cache's tensor: the output that is written over it."""


def _track_spec() -> GraphSpec:
    """Two grey pyramids, full size first, each level half of the one before (``cv2.pyrDown``);
    ``error`` is the mean difference of the windows in grey levels, 1e4 where a point was lost."""
    levels = {
        f"{when}_{level}": TensorSpec("uint8", (f"track_h_{level}", f"track_w_{level}"))
        for when in ("before", "after")
        for level in range(TRACK_LEVELS)
    }
    return GraphSpec(
        inputs={**levels, "points": TensorSpec("float32", ("M", 2))},
        outputs={"moved": TensorSpec("float32", ("M", 2)), "error": TensorSpec("float32", ("M",))},
    )


_WORDS_SPEC = GraphSpec(
    # T texts about one frame; valid is 1 for real tokens, 0 for padding. Above 0 lies what each
    # text describes.
    inputs={
        "deep": TensorSpec("float32", (1, "C_deep", "h_deep", "w_deep")),
        "shallow": TensorSpec("float32", (1, "C_shallow", "h_shallow", "w_shallow")),
        "ids": TensorSpec("int64", ("T", "most_words")),
        "valid": TensorSpec("float32", ("T", "most_words")),
    },
    outputs={"word_logits": TensorSpec("float32", ("T", "h_shallow", "w_shallow"))},
)


def cache_names(layers: int) -> tuple[str, ...]:
    """The static cache of ``layers`` layers, tensor by tensor; outputs are ``NEW`` + name."""
    return tuple(f"{kind}_{layer}" for layer in range(layers) for kind in ("keys", "values"))


def _static_spec(layers: int, cache_dtype: str) -> GraphSpec:
    """S new tokens behind the ``write_index`` cached ones; ``logits`` of the last one.

    ``mask[i, j]``: new token i may look at place j; its own place is ``write_index + i``."""
    cache = TensorSpec(cache_dtype, (1, "kv_heads", "C", "head_dim"))
    names = cache_names(layers)
    return GraphSpec(
        inputs={
            "embeddings": TensorSpec("float32", (1, "S", "D")),
            "position_ids": TensorSpec("int64", (3, 1, "S")),
            "mask": TensorSpec("bool", ("S", "C")),
            "write_index": TensorSpec("int64", (1,)),
            **dict.fromkeys(names, cache),
        },
        outputs={
            "logits": TensorSpec("float32", (1, 1, "vocab")),
            "hidden": TensorSpec("float32", (1, "S", "D")),
            **{f"{NEW}{name}": cache for name in names},
        },
    )


def graph_specs(
    flavour: str = PRIMITIVE,
    layers: int = 1,
    cache_dtype: str = "float32",
    track: bool = False,
    words: bool = False,
    joint: bool = False,
) -> dict[str, GraphSpec]:
    """Every graph of a model directory; ``layers`` and ``cache_dtype`` matter to a static cache,
    ``joint`` (``decode`` reads several answers on) to the primitive flavour."""
    specs = dict(GRAPHS)
    if joint and flavour == PRIMITIVE:
        specs["decode"] = _JOINT_DECODE
    if flavour == STATIC_CACHE:
        del specs["prefill"]
        specs["decode"] = _static_spec(layers, cache_dtype)
    if track:
        specs[TRACK] = _track_spec()
    if words:
        specs[WORDS] = _WORDS_SPEC
    return specs


def track_sizes(height: int, width: int) -> dict[str, int]:
    """Sizes of the pyramid over a picture of ``height`` x ``width``, halves rounded up."""
    found: dict[str, int] = {}
    for level in range(TRACK_LEVELS):
        found[f"track_h_{level}"], found[f"track_w_{level}"] = height, width
        height, width = (height + 1) // 2, (width + 1) // 2
    return found


def size_symbols(specs: Mapping[str, GraphSpec] = GRAPHS) -> tuple[str, ...]:
    """The symbols that ``sizes`` of a manifest must give, sorted."""
    tensors = (spec for graph in specs.values() for side in graph for spec in side.values())
    found = {size for spec in tensors for size in spec.shape if isinstance(size, str)}
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
