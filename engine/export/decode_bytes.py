"""The bytes that one token of ``decode`` has to read, as its graph tells."""

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx.external_data_helper import ExternalDataInfo

from engine.contract import EMBEDDINGS_NAME, ITEM_BYTES, STATIC_CACHE
from engine.runtime.manifest import Manifest

_TWO_IN_A_BYTE = (
    onnx.TensorProto.INT4,
    onnx.TensorProto.UINT4,
    onnx.TensorProto.FLOAT4E2M1,
)


class DecodeBytes(NamedTuple):
    """Read once per token: ``weights`` as stored, the token's own row of ``embeddings``, and the
    ``cache`` of the tokens so far."""

    weights: int
    embeddings: int
    cache: int

    def total(self) -> int:
        return sum(self)


def decode_bytes(manifest: Manifest, cached_tokens: int) -> DecodeBytes:
    """What one call of the graph ``decode`` has to read behind ``cached_tokens``."""
    sizes = manifest.sizes
    dtype = "float32"
    if manifest.flavour == STATIC_CACHE:
        dtype = manifest.graphs["decode"].inputs["keys_0"].dtype
    per_token = 2 * sizes["layers"] * sizes["kv_heads"] * sizes["head_dim"] * ITEM_BYTES[dtype]
    row = np.load(manifest.directory / EMBEDDINGS_NAME, mmap_mode="r")[0]
    weights = weight_bytes(manifest.graph_paths["decode"])
    return DecodeBytes(weights, row.nbytes, per_token * cached_tokens)


def weight_bytes(path: Path) -> int:
    """Bytes of the constants that the nodes of the graph at ``path`` read, in it or beside it.

    A place outside that several of them name counts once; what else lies in that file (weights of
    other graphs) does not count.
    """
    graph = onnx.load(path, load_external_data=False).graph
    read = {name for node in graph.node for name in node.input}
    places: dict[tuple[str, int | str], int] = {}
    for tensor in graph.initializer:
        if tensor.name in read:
            place: tuple[str, int | str] = ("", tensor.name)
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                outside = ExternalDataInfo(tensor)
                place = (outside.location, outside.offset or 0)
            places[place] = _stored_bytes(tensor)
    return sum(places.values())


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    count = int(prod(tensor.dims))
    if tensor.data_type in _TWO_IN_A_BYTE:
        return (count + 1) // 2
    kind: Any = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return count * int(np.dtype(kind).itemsize)
