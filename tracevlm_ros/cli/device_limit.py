"""What the memory of this machine allows: its copy bandwidth, and the bytes that a token reads."""

import json
from typing import NamedTuple

import numpy as np

from engine.contract import ITEM_BYTES, MANIFEST_NAME, STATIC_CACHE
from engine.runtime.cuda_driver import CudaError, find_cuda
from engine.runtime.manifest import Manifest
from tracevlm_ros.cli.bench_engine import repeat

COPY_BYTES = 2**30
COPY_ROUNDS = 10


class DecodeBytes(NamedTuple):
    """Read once per token: ``weights`` as stored, and the ``cache`` of the tokens so far."""

    weights: int
    cache: int

    def total(self) -> int:
        return self.weights + self.cache


def decode_bytes(manifest: Manifest, cached_tokens: int) -> DecodeBytes:
    """Weights outside of ``decode``'s file belong to it where the file names theirs."""
    files = json.loads((manifest.directory / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
    graph = manifest.graph_paths["decode"]
    content = graph.read_bytes()
    outside = [name for name in files if name.endswith(".weights") and name.encode() in content]
    weights = sum(int(files[name]["bytes"]) for name in (graph.name, *outside))
    sizes = manifest.sizes
    dtype = "float32"
    if manifest.flavour == STATIC_CACHE:
        dtype = manifest.graphs["decode"].inputs["keys_0"].dtype
    per_token = 2 * sizes["layers"] * sizes["kv_heads"] * sizes["head_dim"] * ITEM_BYTES[dtype]
    return DecodeBytes(weights, per_token * cached_tokens)


def copy_bandwidth() -> tuple[str, float]:
    """Bytes per second read and written by a large copy on the GPU, else on the host."""
    try:
        cuda = find_cuda()
    except CudaError:
        source = np.ones(COPY_BYTES // 16, np.uint8)
        target = np.empty_like(source)
        times_ms = repeat(lambda: np.copyto(target, source), COPY_ROUNDS)
        return "host", 2 * source.nbytes / (float(np.median(times_ms)) * 1e-3)
    stream = cuda.create_stream(urgent=False)
    one, other = (cuda.allocate_async(COPY_BYTES, stream) for _ in range(2))

    def copy() -> None:
        for _ in range(COPY_ROUNDS):
            cuda.copy_async(other, one, COPY_BYTES, stream)
        cuda.synchronize(stream)

    times_ms = repeat(copy, COPY_ROUNDS)
    name = cuda.info().name
    for address in (one, other):
        cuda.free_async(address, stream)
    cuda.synchronize(stream)
    cuda.destroy_stream(stream)
    cuda.close()
    return name, 2 * COPY_BYTES * COPY_ROUNDS / (float(np.median(times_ms)) * 1e-3)
