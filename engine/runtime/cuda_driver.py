"""The few calls of CUDA's driver API that the TensorRT back end needs, through ctypes.

``libcuda`` comes with every NVIDIA driver under one name, so a robot needs neither torch nor
cuda-python nor a CUDA toolkit of the right version. Handles and device addresses are integers.
Every call checks its result; ``CudaError`` names the call.
"""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ulonglong, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

from tracevlm_ros.core.errors import BackendError

LIBRARY = "libcuda.so.1"
_OUT_OF_MEMORY = 2
_MAJOR, _MINOR = 75, 76
_NON_BLOCKING = 1
_POOL_WAITS_FOR_STREAMS, _POOL_KEEPS = 3, 4
_CAPTURE_THREAD_LOCAL = 1
_VERSION_FILES = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxGetStreamPriorityRange": (POINTER(c_int), POINTER(c_int)),
    "cuStreamCreateWithPriority": (POINTER(c_void_p), c_uint, c_int),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
    "cuDeviceGetDefaultMemPool": (POINTER(c_void_p), c_int),
    "cuMemPoolSetAttribute": (c_void_p, c_int, POINTER(c_ulonglong)),
    "cuMemAllocAsync": (POINTER(c_ulonglong), c_size_t, c_void_p),
    "cuMemFreeAsync": (c_ulonglong, c_void_p),
    "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyAsync": (c_ulonglong, c_ulonglong, c_size_t, c_void_p),
    "cuMemsetD8Async": (c_ulonglong, c_ubyte, c_size_t, c_void_p),
    "cuGetErrorName": (c_int, POINTER(c_char_p)),
}


class CudaError(BackendError):
    """A call of the driver failed."""


class DeviceInfo(NamedTuple):
    """``driver`` is the version of the kernel driver where it can be read, and of its CUDA."""

    name: str
    compute_capability: str
    driver: str


def open_driver(name: str = LIBRARY) -> Any:
    """The driver's library with its signatures; raises CudaError where there is none."""
    try:
        library = ctypes.CDLL(name)
        for function, arguments in _SIGNATURES.items():
            found = getattr(library, function)
            found.argtypes = arguments
            found.restype = c_int
    except (OSError, AttributeError) as error:
        raise CudaError(
            f"no usable CUDA driver ({error}); install NVIDIA's driver, CUDA 11.4 or newer, or use "
            "backend='onnxruntime-cpu'"
        ) from error
    return library


class Cuda:
    """One GPU. Any thread calls ``enter`` before its first other call.

    ``library`` is what ``open_driver`` gives. Raises CudaError when there is no GPU.
    """

    def __init__(self, library: Any, ordinal: int = 0) -> None:
        self._library = library
        self._call("cuInit", 0)
        count = self._integer("cuDeviceGetCount")
        if ordinal >= count:
            raise CudaError(
                f"GPU {ordinal} asked, the CUDA driver lists {count}; plug one in, pass it into "
                "the container, or use backend='onnxruntime-cpu'"
            )
        self._device = self._integer("cuDeviceGet", ordinal)
        context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._context = context.value
        self.enter()
        self._tune_pool()

    def enter(self) -> None:
        """Make the GPU current in this thread; cheap."""
        self._call("cuCtxSetCurrent", self._context)

    def info(self) -> DeviceInfo:
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device)
        major, minor = (
            self._integer("cuDeviceGetAttribute", attribute, self._device)
            for attribute in (_MAJOR, _MINOR)
        )
        cuda = self._integer("cuDriverGetVersion")
        return DeviceInfo(
            name=name.value.decode(errors="replace"),
            compute_capability=f"{major}.{minor}",
            driver=f"{driver_version()} cuda {cuda}",
        )

    def create_stream(self, urgent: bool) -> int:
        """A stream of the highest priority, or of the lowest."""
        lowest, highest = c_int(), c_int()
        self._call("cuCtxGetStreamPriorityRange", ctypes.byref(lowest), ctypes.byref(highest))
        priority = highest.value if urgent else lowest.value
        return self._handle("cuStreamCreateWithPriority", _NON_BLOCKING, priority)

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", stream)

    def synchronize(self, stream: int) -> None:
        """Wait until everything given to ``stream`` is done; errors of that work are raised."""
        self._call("cuStreamSynchronize", stream)

    def allocate_async(self, size: int, stream: int) -> int:
        """``size`` bytes for work on ``stream``, from the driver's pool."""
        return self._address("cuMemAllocAsync", size, stream)

    def free_async(self, address: int, stream: int) -> None:
        """Give back once the work now on ``stream`` is done."""
        self._call("cuMemFreeAsync", address, stream)

    def allocate_host(self, size: int) -> int:
        """Pinned host memory: copies to and from it do not wait."""
        return self._handle("cuMemHostAlloc", size, 0)

    def free_host(self, address: int) -> None:
        self._call("cuMemFreeHost", address)

    def copy_async(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy between any two addresses, host ones pinned."""
        self._call("cuMemcpyAsync", target, source, size, stream)

    def clear_async(self, address: int, size: int, stream: int) -> None:
        """Fill device memory with zeros."""
        self._call("cuMemsetD8Async", address, 0, size, stream)

    def begin_capture(self, stream: int) -> None:
        """From here on ``stream`` records instead of running; other threads are not hindered."""
        self._call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """The recorded work, ready to launch. ``stream`` runs again, also after an error."""
        graph = self._handle_last("cuStreamEndCapture", stream)
        try:
            return self._handle("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def close(self) -> None:
        """Give the GPU's context back; nothing may be called after this."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _tune_pool(self) -> None:
        """Keep freed memory for the next frame, and never make one stream wait for another's.

        By default every wait gives unused memory back to the system, and an allocation on the fast
        path may wait for the slow path's work to reuse its memory.
        """
        pool = self._handle("cuDeviceGetDefaultMemPool", self._device)
        for attribute, value in ((_POOL_WAITS_FOR_STREAMS, 0), (_POOL_KEEPS, 2**64 - 1)):
            self._call("cuMemPoolSetAttribute", pool, attribute, ctypes.byref(c_ulonglong(value)))

    def _integer(self, function: str, *arguments: object) -> int:
        value = c_int()
        self._call(function, ctypes.byref(value), *arguments)
        return value.value

    def _address(self, function: str, *arguments: object) -> int:
        value = c_ulonglong()
        self._call(function, ctypes.byref(value), *arguments)
        return value.value

    def _handle(self, function: str, *arguments: object) -> int:
        value = c_void_p()
        self._call(function, ctypes.byref(value), *arguments)
        return value.value or 0

    def _handle_last(self, function: str, *arguments: object) -> int:
        value = c_void_p()
        self._call(function, *arguments, ctypes.byref(value))
        return value.value or 0

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code == 0:
            return
        if code == _OUT_OF_MEMORY:
            raise CudaError(
                f"the GPU is out of memory in {function}; close other programs, use a smaller "
                "model, or fewer traces at a time",
                is_out_of_memory=True,
            )
        name = c_char_p()
        self._library.cuGetErrorName(code, ctypes.byref(name))
        said = name.value.decode() if name.value else "unknown"
        raise CudaError(f"{function} failed: {said} ({code}); see `tracevlm doctor` and dmesg")


def driver_version() -> str:
    """Version of the kernel driver, ``unknown`` where the system does not tell (Jetson)."""
    readable = (path for path in _VERSION_FILES if os.access(path, os.R_OK))
    return next((path.read_text(encoding="utf-8").split("\n")[0] for path in readable), "unknown")


def find_cuda() -> Cuda:
    """The first GPU; raises CudaError, with the remedy, where there is none."""
    return Cuda(open_driver())
