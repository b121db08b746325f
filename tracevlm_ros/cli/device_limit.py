"""What the memory of this machine allows: its copy bandwidth."""

import numpy as np

from engine.runtime.cuda_driver import CudaError, find_cuda
from tracevlm_ros.cli.bench_engine import repeat

COPY_BYTES = 2**30
COPY_ROUNDS = 10


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
