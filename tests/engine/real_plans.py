"""What the real TensorRT library makes of a model directory, without a GPU."""

from itertools import islice
from pathlib import Path

from engine.contract import GRAPHS
from engine.runtime.building import NO_GPU, PlanBuilder
from engine.runtime.manifest import read_manifest
from engine.runtime.plan_cache import PlanCache
from tests.engine.test_tensorrt_real_library import real_library

UP_TO_DECODE = list(GRAPHS)[: list(GRAPHS).index("decode") + 1]
"""All graphs but `mask`, which takes half a minute."""


def compiled_up_to_decode(directory: Path, cache: Path) -> list[str]:
    """Names of the graphs compiled; skips where the library is not."""
    builder = PlanBuilder(read_manifest(directory), real_library(), NO_GPU, PlanCache(cache))
    return [plan.graph for plan in islice(builder.plans(), len(UP_TO_DECODE))]
