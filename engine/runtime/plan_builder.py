"""One ONNX file -> one serialized TensorRT plan, through the API that all releases share.

Networks are strongly typed: precision is what the graph says (TensorRT 11 knows nothing else), so
int8 and fp8 come as Q/DQ in the graph and never as a flag here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract import GraphSpec, TensorSpec
from engine.runtime.manifest import as_text
from engine.runtime.plan_profiles import Profile, shape_range
from engine.runtime.plan_progress import make_monitor
from engine.runtime.tensorrt_library import TensorRt
from tracevlm_ros.core.errors import BackendError, EngineMismatch
from tracevlm_ros.core.settings import require_range

NUMPY_NAMES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64",
               "INT32": "int32", "UINT8": "uint8", "BOOL": "bool"}  # fmt: skip
_MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings:
    """The effort of a build. Results do not depend on it, so it is no part of a plan's identity.

    ``optimization_level`` 0..5: build time for speed. ``workspace_mib`` limits scratch memory, None
    leaves the library's limit (all of the GPU).
    """

    optimization_level: int = 3
    workspace_mib: int | None = None

    def __post_init__(self) -> None:
        require_range("optimization_level", self.optimization_level, 0, 5)
        if self.workspace_mib is not None:
            require_range("workspace_mib", self.workspace_mib, 16, 2**20)


class BuildRequest(NamedTuple):
    """``timing`` is the content of an earlier timing cache, empty for none."""

    path: Path
    graph: str
    spec: GraphSpec
    profiles: tuple[Profile, ...]
    settings: BuildSettings
    timing: bytes = b""


class Built(NamedTuple):
    """``timing`` is empty where the library keeps no timing cache."""

    plan: Any
    timing: bytes


class BuildCancelled(BackendError):
    """The build was told to stop; nothing was kept."""


def build_plan(
    library: TensorRt,
    request: BuildRequest,
    report: Callable[[str, float], None],
    cancelled: Callable[[], bool],
) -> Built:
    """Compile ``request`` (slow: seconds to minutes).

    Raises BackendError when the library refuses the graph, EngineMismatch when the graph is not
    what the manifest says, BuildCancelled.
    """
    module = library.module
    library.logger.errors.clear()
    builder = _make(library, "builder", lambda: module.Builder(library.logger))
    network = builder.create_network(_network_flags(module))
    _parse(library, request, network)
    _check(request, network)
    config = builder.create_builder_config()
    _configure(module, config, request)
    for profile in request.profiles:
        config.add_optimization_profile(_profile(builder, request, profile))
    timing = _use_timing_cache(library, config, request.timing)
    monitor = make_monitor(module, report, cancelled)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.problem is not None:
        raise monitor.problem
    if cancelled():
        raise BuildCancelled(f"building {request.path.name} was cancelled")
    if plan is None:
        raise BackendError(_refusal(library, request, library.logger.last_error))
    return Built(plan, b"" if timing is None else bytes(memoryview(timing.serialize())))


def _make(library: TensorRt, what: str, make: Callable[[], Any]) -> Any:
    """``make()``; without a GPU the full TensorRT cannot even do this."""
    try:
        made, said = make(), library.logger.last_error
    except Exception as error:
        made, said = None, str(error)
    if made is None:
        raise BackendError(
            f"{library.name} {library.version} gives no {what}: {said}; it "
            "may need a GPU and a newer driver (tensorrt-rtx builds without a GPU)"
        )
    return made


def _network_flags(module: Any) -> int:
    """Strongly typed: a flag in TensorRT 10, the only kind where weak typing (and with it the flag
    FP16) is gone. Raises BackendError where the library is too old to know it."""
    flags = module.NetworkDefinitionCreationFlag
    if not hasattr(flags, "STRONGLY_TYPED"):
        if not hasattr(module.BuilderFlag, "FP16"):
            return 0
        raise BackendError(
            f"TensorRT {module.__version__} has no strongly typed networks; use 10.0 or newer "
            "(JetPack 6 or newer)"
        )
    return 1 << int(flags.STRONGLY_TYPED)


def _parse(library: TensorRt, request: BuildRequest, network: Any) -> None:
    """By path, so that external weights are found beside the file."""
    parser = library.module.OnnxParser(network, library.logger)
    if not parser.parse_from_file(str(request.path)):
        said = parser.get_error(0).desc() if parser.num_errors else library.logger.last_error
        raise BackendError(_refusal(library, request, said))


def _refusal(library: TensorRt, request: BuildRequest, said: str) -> str:
    remedy = "re-export the model, update the library, or use ONNX Runtime"
    if "write_index" in request.spec.inputs:
        remedy = (
            "a static cache needs TensorRT 10.15, 11 or TensorRT-RTX: export with "
            f"--flavour primitive, or {remedy}"
        )
    return (
        f"{request.path.name} cannot be compiled by {library.name} {library.version}: "
        f"{' '.join(said.split())[:300] or 'it said nothing'}; {remedy}"
    )


def _check(request: BuildRequest, network: Any) -> None:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    for side, found, specs in (
        ("input", inputs, request.spec.inputs),
        ("output", outputs, request.spec.outputs),
    ):
        given = {tensor.name: tensor for tensor in found}
        if set(given) != set(specs):
            raise EngineMismatch(
                f"{side}s of graph '{request.graph}' are {sorted(given)} in the file, "
                f"{sorted(specs)} in the manifest; re-export"
            )
        for name, spec in specs.items():
            _check_tensor(request.graph, side, given[name], spec)


def _check_tensor(graph: str, side: str, tensor: Any, spec: TensorSpec) -> None:
    shape, dtype = tuple(tensor.shape), NUMPY_NAMES.get(tensor.dtype.name, tensor.dtype.name)
    same = len(shape) == len(spec.shape) and all(
        size in (asked, -1) or not isinstance(asked, int)
        for size, asked in zip(shape, spec.shape, strict=True)
    )
    if dtype != spec.dtype or not same:
        raise EngineMismatch(
            f"{side} '{tensor.name}' of graph '{graph}' is {as_text(TensorSpec(dtype, shape))} in "
            f"the file, {as_text(spec)} in the manifest; re-export"
        )


def _configure(module: Any, config: Any, request: BuildRequest) -> None:
    """TF32 is on by default: 10 bits of mantissa break the 1e-4 that exports are held to."""
    settings = request.settings
    if hasattr(module.BuilderFlag, "TF32"):
        config.clear_flag(module.BuilderFlag.TF32)
    config.builder_optimization_level = settings.optimization_level
    if settings.workspace_mib is not None:
        pool = module.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, settings.workspace_mib * _MIB)


def _profile(builder: Any, request: BuildRequest, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name, spec in request.spec.inputs.items():
        shapes = shape_range(spec, profile)
        if shapes is not None:
            made.set_shape(name, *shapes)
    return made


def _use_timing_cache(library: TensorRt, config: Any, content: bytes) -> Any:
    """Timings of earlier builds make later ones faster; an unfit one is dropped by the library.

    TensorRT-RTX times nothing while it builds: its calls for this do nothing and are deprecated.
    """
    if library.name != "tensorrt" or not hasattr(config, "create_timing_cache"):
        return None
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        return None
    return cache
