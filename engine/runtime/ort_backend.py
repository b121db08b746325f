"""ONNX Runtime as a back end: on the CPU, or by CUDA where that build and a GPU are present."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from engine.contract import TRACK, WORDS, GraphSpec, TensorSpec
from engine.runtime.backend import LAZY, NOTHING, Array, Resident, Tensor
from engine.runtime.manifest import Manifest, as_text
from tracevlm_ros.core.errors import BackendError, EngineMismatch

THREADS = {"vision": 2, "tvp": 2, "prefill": 1, "decode": 1, "mask": 2, TRACK: 2, WORDS: 1}
"""Threads per graph on the CPU. The slow path computes in its caller's thread, whose priority is
low; one decoded token is too little work to share anyway."""
_ERRORS_ONLY = 3
_INT4_IN_INT8 = "4"
"""Multiply weights of 4 bits with activations rounded to int8."""
_SIGNS_OF_FULL_MEMORY = ("failed to allocate", "out of memory", "bad_alloc", "bad allocation")
_SIGN_OF_CPU_NODES = "fallback to CPU EP"
"""Of the error of a session that may not put nodes on the CPU, and would."""
_NUMPY_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64",
                "tensor(float16)": "float16", "tensor(bfloat16)": "bfloat16",
                "tensor(bool)": "bool"}  # fmt: skip
_BFLOAT16 = 16
"""Of ``onnx.TensorProto``; ONNX Runtime takes its bits as uint16."""


class OrtResident:
    """An OrtValue; freed with the last reference."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def shape(self) -> list[int]:
        return list(self.value.shape())

    def numpy(self) -> Array:
        return np.asarray(self.value.numpy())


class OrtBackend:
    """One session per graph; ``device`` is ``cpu`` or ``cuda``.

    Raises BackendError when a graph cannot be loaded or CUDA is asked for and absent, and
    EngineMismatch when a graph is not what the manifest says.
    """

    def __init__(self, manifest: Manifest, device: str = "cpu") -> None:
        require_device(device)
        self._device = device
        self._graphs, self._paths = manifest.graphs, manifest.graph_paths
        self._sessions: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()
        """Graphs of which a part does not run on ``device``."""
        for graph in self._graphs:
            if graph not in LAZY:
                self._session(graph)

    @property
    def name(self) -> str:
        return f"onnxruntime-{self._device}"

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``. Arrays on the CPU are bound without a copy."""
        session = self._session(graph)
        binding = session.io_binding()
        names = tuple(self._graphs[graph].outputs)
        held = {name: contiguous(inputs[name]) for name in self._graphs[graph].inputs}
        try:
            for name, tensor in held.items():
                _bind(binding, name, tensor)
            for name in names:
                if name in in_place:
                    binding.bind_ortvalue_output(name, _writable(held[in_place[name]]))
                else:
                    binding.bind_output(name, self._device if name in resident else "cpu")
            session.run_with_iobinding(binding)
        except Exception as error:
            said = _one_line(error)
            raise BackendError(
                f"graph '{graph}' failed in {self.name}: {said}; check the shapes given, and free "
                "memory if it ran out",
                is_out_of_memory=any(sign in said.lower() for sign in _SIGNS_OF_FULL_MEMORY),
            ) from error
        values = binding.get_outputs()
        return {
            name: OrtResident(value) if name in resident else value.numpy()
            for name, value in zip(names, values, strict=True)
            if name not in in_place
        }

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """See ``Backend.zeros``."""
        return {name: OrtResident(_zeros(spec, self._device)) for name, spec in specs.items()}

    def _session(self, graph: str) -> Any:
        """Opened at once for all graphs but ``LAZY`` ones, which few callers need."""
        if graph not in self._sessions:
            path, spec = self._paths[graph], self._graphs[graph]
            opened = _open(graph, path, spec, self._device)
            if not opened.is_whole:
                note = f"part of graph '{graph}' runs on the CPU: {self.name} lacks an operator"
                self.notes = (*self.notes, note)
            self._sessions[graph] = opened.session
        return self._sessions[graph]

    def close(self) -> None:
        self._sessions.clear()


def cuda_problem() -> str | None:
    """Why ``onnxruntime-cuda`` cannot be used here, None where its provider is built in."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return None
    return (
        f"onnxruntime {onnxruntime.__version__} has no CUDA provider; install onnxruntime-gpu in "
        "its place"
    )


def require_device(device: str) -> None:
    """Raise BackendError unless ONNX Runtime can compute on ``device``."""
    if device not in ("cpu", "cuda"):
        raise BackendError(f"device is '{device}', ONNX Runtime here knows cpu and cuda")
    problem = cuda_problem() if device == "cuda" else None
    if problem is not None:
        raise BackendError(problem)


def contiguous(tensor: Tensor) -> Tensor:
    """``tensor`` as a back end may read it by address; the result must outlive the run."""
    return np.ascontiguousarray(tensor) if isinstance(tensor, np.ndarray) else tensor


def _zeros(spec: TensorSpec, device: str) -> Any:
    shape = [int(size) for size in spec.shape]
    if spec.dtype == "bfloat16":
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, _BFLOAT16, device)
        value.update_inplace(np.zeros(shape, np.uint16))
        return value
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, spec.dtype), device)


def _writable(tensor: Tensor) -> Any:
    """The OrtValue to write over; raises TypeError for anything that ``zeros`` did not make."""
    if not isinstance(tensor, OrtResident):
        raise TypeError(f"a {type(tensor).__name__} cannot be written over, `zeros` makes what can")
    return tensor.value


def _bind(binding: Any, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, OrtResident):
        binding.bind_ortvalue_input(name, tensor.value)
    else:
        binding.bind_cpu_input(name, tensor)


class _Opened(NamedTuple):
    """``is_whole``: every node runs on the device that was asked for."""

    session: Any
    is_whole: bool


def _open(name: str, path: Path, spec: GraphSpec, device: str) -> _Opened:
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    options = session_options(THREADS[name])
    is_whole = True
    try:
        if device == "cuda":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:
            if _SIGN_OF_CPU_NODES not in str(error):
                raise
            is_whole = False
            options = session_options(THREADS[name])
            session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise BackendError(
            f"{path} cannot be loaded by onnxruntime {onnxruntime.__version__}: "
            f"{_one_line(error)}; re-export the model or update onnxruntime"
        ) from error
    if provider not in session.get_providers():
        raise BackendError(
            f"onnxruntime could not start {provider} for {path.name}; check the driver and CUDA "
            "libraries, or ask for backend='onnxruntime-cpu'"
        )
    _check(name, "input", session.get_inputs(), spec.inputs)
    _check(name, "output", session.get_outputs(), spec.outputs)
    return _Opened(session, is_whole)


def session_options(threads: int) -> Any:
    """Threads that sleep when idle: spinning ones starve the other path and the rest of a robot."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", _INT4_IN_INT8)
    return options


def _check(graph: str, side: str, found: list[Any], specs: Mapping[str, TensorSpec]) -> None:
    given = {item.name: item for item in found}
    if set(given) != set(specs):
        raise EngineMismatch(
            f"{side}s of graph '{graph}' are {sorted(given)} in the file, {sorted(specs)} in the "
            "manifest; re-export"
        )
    for name, spec in specs.items():
        item = given[name]
        dtype = _NUMPY_TYPES.get(item.type, item.type)
        same = len(item.shape) == len(spec.shape) and all(
            not isinstance(size, int) or not isinstance(asked, int) or size == asked
            for size, asked in zip(item.shape, spec.shape, strict=True)
        )
        if dtype != spec.dtype or not same:
            there = as_text(TensorSpec(dtype, tuple(item.shape)))
            raise EngineMismatch(
                f"{side} '{name}' of graph '{graph}' is {there} in the file, {as_text(spec)} in "
                "the manifest; re-export"
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
