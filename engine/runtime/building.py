"""Plans for every graph of a model: from the cache where they fit, else built, one at a time."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract import EMBEDDINGS_NAME, MANIFEST_NAME, TOKENIZER_NAME
from engine.runtime.cuda_driver import CudaError, DeviceInfo, find_cuda
from engine.runtime.manifest import Manifest, sha256_of
from engine.runtime.plan_builder import BuildRequest, BuildSettings, Built, build_plan
from engine.runtime.plan_cache import Identity, PlanCache
from engine.runtime.plan_profiles import as_json, graph_profiles
from engine.runtime.plan_progress import BuildProgress, OnProgress, ignore_progress
from engine.runtime.tensorrt_library import TensorRt
from tracevlm_ros.core.errors import BackendError

FORMAT = 1
"""Counted up when this program reads plans in another way."""
WAITING = "waiting for another builder"
NO_GPU = DeviceInfo("none", "none", "none")
Build = Callable[[TensorRt, BuildRequest, Callable[[str, float], None], Callable[[], bool]], Built]


class Plan(NamedTuple):
    """``content`` for the library; ``seconds`` is 0 and ``why`` empty when it came from the cache.

    ``why`` says why it was built: not built yet, damaged, built for something else.
    """

    graph: str
    content: bytes
    path: Path
    seconds: float
    why: str


class PlanBuilder:
    """Plans of one model for one library and one GPU (``NO_GPU``: only to see that they build).

    ``build`` does the compiling; tests give another. Raises BackendError for a model in int8, which
    is for CPUs.
    """

    def __init__(
        self,
        manifest: Manifest,
        library: TensorRt,
        device: DeviceInfo,
        cache: PlanCache,
        settings: BuildSettings | None = None,
        build: Build = build_plan,
    ) -> None:
        _require_buildable(manifest)
        self._manifest = manifest
        self._library = library
        self._device = device
        self._cache = cache
        self._settings = BuildSettings() if settings is None else settings
        self._build = build
        self._hashes = graph_hashes(manifest)

    def identity(self, graph: str) -> Identity:
        """Everything that a plan depends on. A difference in any of it means: build again."""
        manifest = self._manifest
        return {
            **_made_by(self._library, self._device),
            "graph": graph,
            "onnx_sha256": self._hashes[graph],
            "precision": manifest.precision,
            "profiles": as_json(graph_profiles(graph, manifest)),
        }

    def missing(self) -> dict[str, str]:
        """Graph -> why its plan cannot be loaded; empty when all are ready. Builds nothing."""
        found = {graph: self._cache.read(self.identity(graph)) for graph in self._manifest.graphs}
        return {graph: item.problem for graph, item in found.items() if item.content is None}

    def ready_plans(self) -> Iterator[Plan]:
        """One plan per graph, all from the cache; raises BackendError when one is not there."""
        for graph in self._manifest.graphs:
            identity = self.identity(graph)
            found = self._cache.read(identity)
            if found.content is None:
                library = self._library
                raise BackendError(
                    f"{library.name} {library.version} has no plan for {', '.join(self.missing())} "
                    f"({graph}: {found.problem}); run `tracevlm build {self._manifest.directory}`, "
                    "or ask for backend='tensorrt'"
                )
            yield Plan(graph, found.content, self._cache.path(identity), 0.0, "")

    def plans(
        self,
        on_progress: OnProgress = ignore_progress,
        cancelled: Callable[[], bool] = lambda: False,
        rebuild: bool = False,
    ) -> Iterator[Plan]:
        """One plan per graph, in the order of the contract, built where it must be.

        Raises BackendError or EngineMismatch for a graph that cannot be built, BuildCancelled.
        """
        graphs = self._manifest.graphs
        for number, graph in enumerate(graphs, start=1):

            def report(phase: str, fraction: float, graph: str = graph, at: int = number) -> None:
                on_progress(BuildProgress(graph, at, len(graphs), phase, fraction))

            yield self._plan(graph, report, cancelled, rebuild)

    def _plan(
        self,
        graph: str,
        report: Callable[[str, float], None],
        cancelled: Callable[[], bool],
        rebuild: bool,
    ) -> Plan:
        identity = self.identity(graph)
        path = self._cache.path(identity)
        found = self._cache.read(identity)
        if found.content is not None and not rebuild:
            return Plan(graph, found.content, path, 0.0, "")
        waited: list[str] = []

        def waiting() -> None:
            waited.append(WAITING)
            report(WAITING, 0.0)

        with self._cache.lock(identity, waiting):
            if waited or not rebuild:
                found = self._cache.read(identity)
                if found.content is not None:
                    return Plan(graph, found.content, path, 0.0, "")
            start = time.perf_counter()
            content = self._compile(graph, report, cancelled)
            self._cache.write(identity, content)
            why = "asked for" if found.content is not None else found.problem
            return Plan(graph, content, path, time.perf_counter() - start, why)

    def _compile(
        self, graph: str, report: Callable[[str, float], None], cancelled: Callable[[], bool]
    ) -> bytes:
        manifest, timing = self._manifest, self._timing_identity()
        request = BuildRequest(
            path=manifest.graph_paths[graph],
            graph=graph,
            spec=manifest.graphs[graph],
            profiles=graph_profiles(graph, manifest),
            settings=self._settings,
            timing=self._cache.read(timing).content or b"",
        )
        report("starting", 0.0)
        built = self._build(self._library, request, report, cancelled)
        if built.timing:
            self._cache.write(timing, built.timing)
        report("done", 1.0)
        return bytes(memoryview(built.plan))

    def _timing_identity(self) -> Identity:
        """The timing cache is shared by all graphs and models of this library and GPU."""
        library, device = self._library, self._device
        return {
            "format": FORMAT,
            "graph": "timing",
            "library": library.name,
            "library_version": library.version,
            **device._asdict(),
        }


def _made_by(library: TensorRt, device: DeviceInfo) -> Identity:
    """What plans of one library on one GPU have in common."""
    return {
        "format": FORMAT,
        "library": library.name,
        "library_version": library.version,
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "driver": device.driver,
    }


class KeptPlans(NamedTuple):
    """``number`` of plans; ``smallest`` is the smallest that may be loaded, None where none may."""

    number: int
    smallest: Plan | None


def find_kept(library: TensorRt, device: DeviceInfo, cache: PlanCache) -> KeptPlans:
    """The plans in ``cache``, of any model, that ``library`` built for ``device``."""
    wanted = _made_by(library, device)
    kept = [
        identity
        for identity in cache.identities()
        if all(identity.get(key) == value for key, value in wanted.items())
    ]
    for identity in kept:
        content = cache.read(identity).content
        if content is not None:
            plan = Plan(str(identity["graph"]), content, cache.path(identity), 0.0, "")
            return KeptPlans(len(kept), plan)
    return KeptPlans(len(kept), None)


def _require_buildable(manifest: Manifest) -> None:
    """Raise BackendError for a precision that TensorRT does not take."""
    if manifest.precision == "int8":
        raise BackendError(
            f"{manifest.directory} is int8 with unsigned activations, which TensorRT does not "
            "take; quantise the fp32 model with --precision int8-symmetric"
        )


def graph_hashes(manifest: Manifest) -> dict[str, str]:
    """Graph -> SHA-256 of its file, followed by those of external weights, which all may share.

    External weights are taken from the manifest, whose reader has just verified them.
    """
    document = json.loads((manifest.directory / MANIFEST_NAME).read_text(encoding="utf-8"))
    known = {path.name for path in manifest.graph_paths.values()}
    files: dict[str, Any] = document["files"]
    external = [
        str(entry["sha256"])
        for name, entry in sorted(files.items())
        if name not in known | {EMBEDDINGS_NAME, TOKENIZER_NAME}
        and not name.endswith((".md", ".json"))
    ]
    return {
        graph: "+".join([sha256_of(path), *external])
        for graph, path in manifest.graph_paths.items()
    }


class Target(NamedTuple):
    """The GPU to build for; ``problem`` says why there is none."""

    device: DeviceInfo
    problem: str


def find_target() -> Target:
    """This machine's GPU, or ``NO_GPU`` with the reason."""
    try:
        cuda = find_cuda()
    except CudaError as error:
        return Target(NO_GPU, str(error))
    try:
        return Target(cuda.info(), "")
    finally:
        cuda.close()
