"""A GPU that is none: the driver's calls over host memory, and a TensorRT that runs plans on it.

Work given to a stream waits until the stream is synchronised, as late as a real GPU could do it;
freed memory is poisoned; every access is checked against what is allocated. So host code that
forgets to wait, frees too early or writes over a buffer in use gives wrong numbers or an error.
A plan of this TensorRT is the ONNX file itself.
"""

import ctypes
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from engine.runtime.ort_backend import session_options
from engine.runtime.tensorrt_library import TensorRt, make_logger

LEAST_PRIORITY, GREATEST_PRIORITY = 0, -5
OUT_OF_MEMORY, BAD_CAPTURE = 2, 901
_POISON = 0xA5
Work = Callable[[], None]


class RecordedDriver:
    """Stands in for ``libcuda``; ``calls`` holds (name, plain arguments) in order."""

    def __init__(self, device_count: int = 1, memory_limit: int | None = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.priorities: dict[int, int] = {}
        self.pool: dict[int, int] = {}
        self.capture_fails = False
        self.memory_limit = memory_limit
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.graphs: dict[int, list[Work]] = {}
        self._count = device_count
        self._queues: dict[int, list[Work]] = defaultdict(list)
        self._recording: dict[int, list[Work]] = {}
        self._next = 1000

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def enqueue(self, stream: int, work: Work) -> None:
        """Give ``work`` to ``stream``, which runs it later or records it."""
        self._recording.get(stream, self._queues[stream]).append(work)

    def memory(self, address: int, size: int) -> Any:
        """Bytes of allocated memory; fails as a GPU would on a wild address."""
        for blocks in (self.device, self.pinned):
            if address in blocks:
                assert size <= len(blocks[address]), "access beyond the end of a block"
                return np.ctypeslib.as_array(blocks[address])[:size]
        raise AssertionError(f"access to {address}, which is not allocated")

    def __getattr__(self, name: str) -> Callable[..., int]:
        call = getattr(type(self), f"do_{name}", None)
        if call is None:
            raise AttributeError(name)

        def record(*arguments: Any) -> int:
            plain = [item for item in arguments if not hasattr(item, "_obj")]
            self.calls.append((name, tuple(plain)))
            return int(call(self, *arguments) or 0)

        return record

    def do_cuInit(self, _flags: int) -> None: ...  # noqa: N802

    def do_cuDriverGetVersion(self, out: Any) -> None:  # noqa: N802
        out._obj.value = 13000

    def do_cuDeviceGetCount(self, out: Any) -> None:  # noqa: N802
        out._obj.value = self._count

    def do_cuDeviceGet(self, out: Any, ordinal: int) -> None:  # noqa: N802
        out._obj.value = ordinal

    def do_cuDeviceGetName(self, name: Any, _size: int, _device: int) -> None:  # noqa: N802
        name.value = b"Recorded GPU"

    def do_cuDeviceGetAttribute(self, out: Any, attribute: int, _device: int) -> None:  # noqa: N802
        out._obj.value = {75: 9, 76: 0}[attribute]

    def do_cuDevicePrimaryCtxRetain(self, out: Any, _device: int) -> None:  # noqa: N802
        out._obj.value = 77

    def do_cuDevicePrimaryCtxRelease_v2(self, _device: int) -> None: ...  # noqa: N802

    def do_cuCtxSetCurrent(self, context: int) -> None:  # noqa: N802
        assert context == 77

    def do_cuCtxGetStreamPriorityRange(self, least: Any, greatest: Any) -> None:  # noqa: N802
        least._obj.value, greatest._obj.value = LEAST_PRIORITY, GREATEST_PRIORITY

    def do_cuStreamCreateWithPriority(self, out: Any, flags: int, priority: int) -> None:  # noqa: N802
        assert flags == 1, "a blocking stream waits for everything else"
        out._obj.value = self._new()
        self.priorities[out._obj.value] = priority

    def do_cuStreamDestroy_v2(self, stream: int) -> None:  # noqa: N802
        del self.priorities[stream]

    def do_cuStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        assert stream not in self._recording, "a stream that is captured cannot be waited for"
        queue, self._queues[stream] = self._queues[stream], []
        for work in queue:
            work()

    def do_cuStreamBeginCapture_v2(self, stream: int, mode: int) -> None:  # noqa: N802
        assert mode == 1, "other threads must be free to allocate"
        self._recording[stream] = []

    def do_cuStreamEndCapture(self, stream: int, out: Any) -> int:  # noqa: N802
        recorded = self._recording.pop(stream)
        if self.capture_fails:
            return BAD_CAPTURE
        out._obj.value = self._new()
        self.graphs[out._obj.value] = recorded
        return 0

    def do_cuGraphInstantiateWithFlags(self, out: Any, graph: int, _flags: int) -> None:  # noqa: N802
        out._obj.value = self._new()
        self.graphs[out._obj.value] = list(self.graphs[graph])

    def do_cuGraphDestroy(self, graph: int) -> None:  # noqa: N802
        del self.graphs[graph]

    do_cuGraphExecDestroy = do_cuGraphDestroy  # noqa: N815

    def do_cuGraphLaunch(self, graph: int, stream: int) -> None:  # noqa: N802
        for work in self.graphs[graph]:
            self.enqueue(stream, work)

    def do_cuDeviceGetDefaultMemPool(self, out: Any, _device: int) -> None:  # noqa: N802
        out._obj.value = 55

    def do_cuMemPoolSetAttribute(self, pool: int, attribute: int, value: Any) -> None:  # noqa: N802
        assert pool == 55
        self.pool[attribute] = value._obj.value

    def do_cuMemAllocAsync(self, out: Any, size: int, stream: int) -> int:  # noqa: N802
        assert stream not in self._recording, "an allocation must not be captured"
        used = sum(len(block) for block in self.device.values())
        if self.memory_limit is not None and used + size > self.memory_limit:
            return OUT_OF_MEMORY
        out._obj.value = self._block(self.device, size)
        return 0

    def do_cuMemFreeAsync(self, address: int, stream: int) -> None:  # noqa: N802
        assert stream not in self._recording, "a free must not be captured"
        assert address in self.device, "freed twice"
        self.enqueue(stream, lambda: self._poison(address))

    def do_cuMemHostAlloc(self, out: Any, size: int, _flags: int) -> None:  # noqa: N802
        out._obj.value = self._block(self.pinned, size)

    def do_cuMemFreeHost(self, address: int) -> None:  # noqa: N802
        del self.pinned[address]

    def do_cuMemcpyAsync(self, target: int, source: int, size: int, stream: int) -> None:  # noqa: N802
        def copy() -> None:
            self.memory(target, size)[:] = self.memory(source, size)

        self.enqueue(stream, copy)

    def do_cuMemsetD8Async(self, target: int, value: int, size: int, stream: int) -> None:  # noqa: N802
        def fill() -> None:
            self.memory(target, size)[:] = value

        self.enqueue(stream, fill)

    def do_cuGetErrorName(self, code: int, out: Any) -> None:  # noqa: N802
        out._obj.value = {BAD_CAPTURE: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}.get(code, b"OTHER")

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _block(self, blocks: dict[int, Any], size: int) -> int:
        block = (ctypes.c_ubyte * size)()
        ctypes.memset(block, _POISON, size)
        blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _poison(self, address: int) -> None:
        block = self.device.pop(address)
        ctypes.memset(block, _POISON, len(block))


class RecordedContext:
    """An execution context: what it is told must be complete before it runs."""

    def __init__(self, engine: "RecordedEngine") -> None:
        self.active_optimization_profile = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch = 0
        self._engine = engine

    def set_device_memory(self, address: int, size: int) -> None:
        assert size == self._engine.device_memory_size_v2
        self.scratch = address

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.active_optimization_profile = index
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch, "no scratch memory"
        if self._engine.refuses:
            return False
        shapes = dict(self.shapes)
        driver = self._engine.driver

        def compute() -> None:
            session = self._engine.session
            feeds = {}
            for item in session.get_inputs():
                dtype = np.dtype(_DTYPES[item.type])
                size = int(np.prod(shapes[item.name])) * dtype.itemsize
                flat = driver.memory(self.addresses[item.name], size).view(dtype)
                feeds[item.name] = flat.reshape(shapes[item.name])
            names = [item.name for item in session.get_outputs()]
            for name, array in zip(names, session.run(names, feeds), strict=True):
                target = driver.memory(self.addresses[name], array.nbytes)
                target[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

        driver.enqueue(stream, compute)
        return True


class RecordedEngine:
    device_memory_size_v2 = 64

    def __init__(self, driver: RecordedDriver, content: bytes) -> None:
        self.driver = driver
        self.refuses = False
        self.contexts: list[RecordedContext] = []
        options = session_options(1)
        self.session = onnxruntime.InferenceSession(bytes(content), options)

    def create_execution_context(self, strategy: str) -> RecordedContext:
        assert strategy == "user managed"
        self.contexts.append(RecordedContext(self))
        return self.contexts[-1]


_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64",
           "tensor(float16)": "float16", "tensor(bool)": "bool"}  # fmt: skip


NOT_THIS_GPU = (
    "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine cannot run on this "
    "GPU, which has compute capability 9.0. Supported compute capabilities: 8.0 8.6 8.9 12.0 12.1 "
    ">12.0. TensorRT-RTX does not support this compute capability, so the engine cannot be rebuilt "
    "for it. In throwUnlessComputeCapSupported at /_src/runtime/dispatch/runtime.cpp:84)"
)
"""What TensorRT-RTX 1.7.1.116 says on an NVIDIA H100 of every plan."""


def recorded_tensorrt(
    driver: RecordedDriver,
    version: str = "1.0",
    name: str = "recorded",
    refusal: tuple[str, ...] = (),
) -> TensorRt:
    """A TensorRT whose engines are found in ``module.engines``, in the order of their loading.

    With a ``refusal`` it takes no plan and logs that instead. What it is asked to take is counted
    in ``module.asked``.
    """
    engines: list[RecordedEngine] = []

    class Logger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, content: bytes) -> RecordedEngine | None:
            module.asked += 1
            for message in refusal or (() if content else ("magic tag does not match",)):
                self._logger.log(Logger.ERROR, message)
            if refusal or not content:
                return None
            engines.append(RecordedEngine(driver, content))
            return engines[-1]

    module = SimpleNamespace(
        ILogger=Logger,
        Runtime=Runtime,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
        engines=engines,
        asked=0,
    )
    return TensorRt(module, name, version, make_logger(module))
