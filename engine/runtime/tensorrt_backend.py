"""TensorRT as a back end: plans on one GPU, the fast path on a stream of the highest priority.

Has run against a recording stand-in for the driver and the library. On the one GPU tried so far
the library takes no plan (docs/tensorrt.md); ``benchmarks/gpu_run.sh`` takes the figures elsewhere.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from engine.contract import STATIC_CACHE, TRACK, WORDS, TensorSpec, cache_names
from engine.runtime.backend import NOTHING, Resident, Tensor
from engine.runtime.building import Plan, PlanBuilder
from engine.runtime.call_sizes import largest_sizes, shape_of
from engine.runtime.cuda_driver import Cuda, find_cuda
from engine.runtime.device_memory import Arena, DeviceStream, DeviceTensor
from engine.runtime.manifest import Manifest
from engine.runtime.plan_builder import BuildSettings
from engine.runtime.plan_cache import PlanCache
from engine.runtime.plan_opening import open_plan
from engine.runtime.plan_profiles import cache_limit, graph_profiles
from engine.runtime.plan_progress import OnProgress, ignore_progress
from engine.runtime.plan_runner import PlanRunner, RunnerSetup
from engine.runtime.tensorrt_library import TensorRt, find_tensorrt
from engine.runtime.working_cache import WorkingCache

FAST_PATH = ("vision", "tvp", "mask", TRACK)
MAX_CAPTURED = {
    "vision": 1,
    "tvp": 16,
    "mask": 16,
    TRACK: 16,
    "decode": 256,
    "prefill": 0,
    WORDS: 0,
}
"""Captured shapes per graph. ``decode`` has one per length of the cache, with a static cache one
per number of new tokens; a prompt comes once."""


class TensorRtBackend:
    """Runs ``plans`` (one per graph of ``manifest``) on ``cuda``, which it owns and closes.

    Raises BackendError when the library does not take a plan.
    """

    def __init__(
        self,
        manifest: Manifest,
        library: TensorRt,
        cuda: Cuda,
        plans: Iterable[Plan],
        max_captured: Mapping[str, int] = MAX_CAPTURED,
    ) -> None:
        self._library = library
        self._cuda = cuda
        self._arena = Arena(cuda)
        self._fast = DeviceStream(cuda, urgent=True)
        self._slow = DeviceStream(cuda, urgent=False)
        self._runners: dict[str, PlanRunner] = {}
        self._cache: WorkingCache | None = None
        self._runtime = library.module.Runtime(library.logger)
        try:
            if manifest.flavour == STATIC_CACHE:
                self._cache = self._make_cache(manifest)
            for plan in plans:
                self._runners[plan.graph] = self._open(plan, manifest, max_captured)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self._library.name

    @property
    def problems(self) -> tuple[str, ...]:
        """What works less well than it should: graphs that could not be captured."""
        return tuple(runner.problem for runner in self._runners.values() if runner.problem)

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``. Calls of the two paths run side by side on their streams."""
        stream = self._stream(graph)
        with stream.lock:
            self._cuda.enter()
            return self._runners[graph].run(inputs, resident, in_place)

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """See ``Backend.zeros``; for the slow path."""
        stream, found = self._slow, {}
        with stream.lock:
            self._cuda.enter()
            for name, spec in specs.items():
                made = DeviceTensor(self._arena, stream, shape_of(spec, {}), spec.dtype)
                self._cuda.clear_async(made.address, made.size, stream.handle)
                found[name] = made
        return dict(found)

    def close(self) -> None:
        """Wait for both streams and free everything, tensors that are still held included."""
        with self._fast.lock, self._slow.lock:
            self._cuda.enter()
            for stream in (self._fast, self._slow):
                self._cuda.synchronize(stream.handle)
            for runner in self._runners.values():
                runner.close()
            self._runners.clear()
            self._arena.close()
            self._runtime = None
            for stream in (self._fast, self._slow):
                stream.close()
            self._cuda.close()

    def _stream(self, graph: str) -> DeviceStream:
        return self._fast if graph in FAST_PATH else self._slow

    def _make_cache(self, manifest: Manifest) -> WorkingCache:
        inputs = manifest.graphs["decode"].inputs
        specs = {name: inputs[name] for name in cache_names(manifest.sizes["layers"])}
        with self._slow.lock:
            return WorkingCache(self._arena, self._slow, specs)

    def _open(self, plan: Plan, manifest: Manifest, max_captured: Mapping[str, int]) -> PlanRunner:
        profiles = graph_profiles(plan.graph, manifest)
        setup = RunnerSetup(
            graph=plan.graph,
            spec=manifest.graphs[plan.graph],
            profiles=profiles,
            largest=largest_sizes(profiles, cache_limit(manifest)),
            max_captured=max_captured.get(plan.graph, 0),
            cache=self._cache if plan.graph == "decode" else None,
        )
        stream = self._stream(plan.graph)
        engine = open_plan(self._library, self._runtime, plan)
        return PlanRunner(self._library, engine, setup, self._arena, stream)


def open_tensorrt(
    manifest: Manifest,
    *,
    may_build: bool,
    on_progress: OnProgress = ignore_progress,
    settings: BuildSettings | None = None,
    max_captured: Mapping[str, int] = MAX_CAPTURED,
    find_library: Callable[[], TensorRt] = find_tensorrt,
    find_device: Callable[[], Cuda] = find_cuda,
) -> TensorRtBackend:
    """The back end on this machine's GPU; plans that are missing are built if ``may_build``.

    Runs the vision encoder once, so that ``problems`` tells whether graphs can be captured here.

    Raises BackendError, with the remedy, where library, GPU or (unless ``may_build``) plans lack.
    """
    cuda = find_device()
    try:
        library, cache = find_library(), PlanCache()
        builder = PlanBuilder(manifest, library, cuda.info(), cache, settings)
    except BaseException:
        cuda.close()
        raise
    plans = builder.plans(on_progress) if may_build else builder.ready_plans()
    backend = TensorRtBackend(manifest, library, cuda, plans, max_captured)
    image = manifest.graphs["vision"].inputs["image"]
    try:
        backend.run("vision", {"image": np.zeros(shape_of(image, {}), image.dtype)})
    except BaseException:
        backend.close()
        raise
    return backend
