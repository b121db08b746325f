"""Memory of one GPU for the TensorRT back end, and who owns it.

``DeviceStream`` is an order of work and its lock: whoever gives work to a stream holds the lock,
since a stream that is being captured would record another thread's work. ``Arena`` gives out
memory and takes all of it back in ``close``; a ``DeviceTensor`` gives its part back when the last
reference goes, in the order of its stream, so that work already queued still reads it.
"""

import ctypes
import math
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np

from engine.contract import ITEM_BYTES
from engine.runtime.backend import Array
from engine.runtime.cuda_driver import Cuda


class DeviceStream:
    """An order of work; ``urgent`` work goes before all other work of this GPU."""

    def __init__(self, cuda: Cuda, urgent: bool) -> None:
        self.handle = cuda.create_stream(urgent)
        self.lock = threading.RLock()
        self.returned: deque[int] = deque()
        """Addresses to free. Garbage collection may append at any moment, so it only appends."""
        self._cuda = cuda
        self._pinned: PinnedBuffer | None = None

    def pinned(self, size: int) -> "PinnedBuffer":
        """Host memory of at least ``size`` bytes, the same for every caller: hold the lock."""
        if self._pinned is None or self._pinned.size < size:
            self._free_pinned()
            self._pinned = PinnedBuffer(self._cuda, size)
        return self._pinned

    def close(self) -> None:
        self._free_pinned()
        self._cuda.destroy_stream(self.handle)

    def _free_pinned(self) -> None:
        if self._pinned is not None:
            self._pinned.close()
            self._pinned = None


class Arena:
    """Device memory that can be given back by parts, from any thread, or as a whole."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self._lock = threading.Lock()
        self._live: dict[int, int] = {}

    def allocate(self, size: int, stream: DeviceStream) -> int:
        """``size`` bytes (at least 1) for ``stream``, whose lock the caller holds.

        First frees what was returned to ``stream``: never while it is captured, or the graph would
        free it again with every launch.
        """
        while stream.returned:
            address = stream.returned.popleft()
            with self._lock:
                self._live.pop(address)
            self.cuda.free_async(address, stream.handle)
        address = self.cuda.allocate_async(max(size, 1), stream.handle)
        with self._lock:
            self._live[address] = stream.handle
        return address

    @property
    def live(self) -> int:
        """How many parts are out."""
        return len(self._live)

    def close(self) -> None:
        """Give everything back; all streams must be idle."""
        with self._lock:
            left, self._live = self._live, {}
        for address, stream in left.items():
            self.cuda.free_async(address, stream)


class DeviceTensor:
    """A ``Resident`` of the TensorRT back end: contiguous, freed by reference count.

    ``stream`` is where it was written; work on that stream may read it without waiting.
    """

    def __init__(
        self, arena: Arena, stream: DeviceStream, shape: tuple[int, ...], dtype: str
    ) -> None:
        self._shape = shape
        self.dtype = dtype
        self.size = math.prod(shape) * ITEM_BYTES[dtype]
        self.stream = stream
        self.address = arena.allocate(self.size, stream)
        self._arena = arena
        weakref.finalize(self, stream.returned.append, self.address).atexit = False

    def shape(self) -> list[int]:
        return list(self._shape)

    def numpy(self) -> Array:
        """A copy in host memory; waits for the work queued on its stream. bfloat16 as uint16."""
        cuda = self._arena.cuda
        dtype = "uint16" if self.dtype == "bfloat16" else self.dtype
        with self.stream.lock:
            cuda.enter()
            pinned = self.stream.pinned(self.size)
            cuda.copy_async(pinned.address, self.address, self.size, self.stream.handle)
            cuda.synchronize(self.stream.handle)
            return pinned.read(self._shape, dtype)


class PinnedBuffer:
    """Host memory that the GPU copies to and from without waiting."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self.size = max(size, 1)
        self.address = cuda.allocate_host(self.size)
        memory = (ctypes.c_ubyte * self.size).from_address(self.address)
        self._bytes: Array = np.ctypeslib.as_array(memory)

    def write(self, array: Array) -> int:
        """Copy ``array`` (contiguous) in; gives its size in bytes."""
        size = array.nbytes
        self._bytes[:size] = array.reshape(-1).view(np.uint8)
        return size

    def read(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A copy, which belongs to the caller."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        return np.asarray(self._bytes[:size].view(kind).reshape(shape).copy())

    def close(self) -> None:
        self._cuda.free_host(self.address)
