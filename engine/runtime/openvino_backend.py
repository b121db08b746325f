"""OpenVINO as a back end for CPUs: fewer, larger kernels than ONNX Runtime, and bf16 where it is.

An option for Intel CPUs (extra [openvino]). Graphs with robust sums run in bf16 where the CPU
multiplies it; TVP, whose distances are precise, and decoding, which gains nothing, stay fp32.
"""

import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import openvino

from engine.contract import PRIMITIVE, TRACK, WORDS, GraphSpec, TensorSpec
from engine.runtime.backend import LAZY, NOTHING, Array, Resident, Tensor, host
from engine.runtime.manifest import Manifest
from tracevlm_ros.core.errors import BackendError, EngineMismatch

THREADS = {"vision": 2, "tvp": 2, "prefill": 1, "decode": 1, "mask": 2, TRACK: 2, WORDS: 1}
"""As for ONNX Runtime: the slow path takes one thread only."""
BF16_GRAPHS = ("vision", "prefill", "mask")


@cache
def shared_core() -> Any:
    """The one `openvino.Core` of this process, with its CPU plugin loaded.

    The plugin gives the thread that loads it another stack for signals and takes it away when it
    goes: of two cores that end in the order in which they began, the second puts back the stack
    that the first has unmapped, and the next signal that Python handles there ends the process. So
    the thread that loads it is one that ends at once.
    """
    with ThreadPoolExecutor(1, "openvino-core") as pool:
        return pool.submit(_core_with_plugin).result()


def _core_with_plugin() -> Any:
    core = openvino.Core()
    core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return core


def has_bf16() -> bool:
    """Whether the CPU multiplies bf16, as OpenVINO sees it."""
    return "BF16" in shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class HostResident:
    """A tensor that stays as it is: the back end computes in host memory."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._array.setflags(write=False)

    def shape(self) -> list[int]:
        return list(self._array.shape)

    def numpy(self) -> Array:
        return self._array


class OpenVinoBackend:
    """One compiled graph and one request each; calls of one graph wait for each other.

    Raises BackendError when a graph cannot be compiled, EngineMismatch when it is not what the
    manifest says.
    """

    def __init__(self, manifest: Manifest) -> None:
        if manifest.flavour != PRIMITIVE:
            raise EngineMismatch(
                f"{manifest.directory} is of flavour {manifest.flavour}, openvino-cpu runs "
                f"{PRIMITIVE}; export with --flavour {PRIMITIVE}"
            )
        self._is_bf16 = has_bf16()
        self._graphs, self._paths = manifest.graphs, manifest.graph_paths
        self._locks = {name: threading.Lock() for name in self._graphs}
        self._requests: dict[str, Any] = {}
        for graph in self._graphs:
            if graph not in LAZY:
                self._request(graph)

    @property
    def name(self) -> str:
        return "openvino-cpu"

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``; nothing can be written in place."""
        if in_place:
            raise EngineMismatch(f"{self.name} writes nothing in place; export as primitive")
        spec = self._graphs[graph]
        given = {name: np.ascontiguousarray(host(inputs[name])) for name in spec.inputs}
        with self._locks[graph]:
            request = self._request(graph)
            try:
                request.infer(given, share_inputs=True)
                found = {name: request.get_tensor(name).data.copy() for name in spec.outputs}
            except Exception as error:
                raise BackendError(
                    f"graph '{graph}' failed in {self.name}: {_one_line(error)}; check the shapes "
                    "given",
                    is_out_of_memory="bad_alloc" in str(error),
                ) from error
        return {
            name: HostResident(array) if name in resident else array
            for name, array in found.items()
        }

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """Refused with EngineMismatch: static caches are not for this back end."""
        raise EngineMismatch(
            f"{self.name} writes nothing in place ({len(specs)} tensors asked); export with "
            "--flavour primitive"
        )

    def _request(self, graph: str) -> Any:
        """Compiled at once for all graphs but ``LAZY`` ones."""
        if graph not in self._requests:
            path, spec = str(self._paths[graph]), self._graphs[graph]
            self._requests[graph] = _open(graph, path, spec, self._is_bf16)
        return self._requests[graph]

    def close(self) -> None:
        self._requests.clear()


def _open(name: str, path: str, spec: GraphSpec, is_bf16: bool) -> Any:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": THREADS[name],
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 and name in BF16_GRAPHS else "f32",
    }
    try:
        compiled = shared_core().compile_model(path, "CPU", options)
    except Exception as error:
        raise BackendError(
            f"{path} cannot be compiled by openvino {openvino.__version__}: {_one_line(error)}; "
            "ask for backend='onnxruntime-cpu'"
        ) from error
    for side, found, asked in (
        ("inputs", compiled.inputs, spec.inputs),
        ("outputs", compiled.outputs, spec.outputs),
    ):
        names = set().union(*(port.names for port in found))
        if len(found) != len(asked) or not names >= set(asked):
            raise EngineMismatch(
                f"{side} of graph '{name}' are {sorted(names)} in the file, {sorted(asked)} in the "
                "manifest; re-export"
            )
    return compiled.create_infer_request()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
