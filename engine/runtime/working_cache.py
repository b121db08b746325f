"""The static cache that the plan ``decode`` reads and writes, at addresses that never change.

Each trace has a cache of its own (``Backend.zeros``), yet a captured graph knows one set of
addresses. A trace's cache is copied in when another one was in use before, which is put back first.
Answers about one trace copy nothing.
"""

import weakref
from collections.abc import Mapping

from engine.contract import TensorSpec
from engine.runtime.call_sizes import byte_size
from engine.runtime.device_memory import Arena, DeviceStream, DeviceTensor


class WorkingCache:
    """Memory for the tensors ``specs`` (fixed shapes), given back with ``arena``. For calls that
    hold the lock of ``stream``."""

    def __init__(self, arena: Arena, stream: DeviceStream, specs: Mapping[str, TensorSpec]) -> None:
        self._cuda, self._stream = arena.cuda, stream
        self.addresses = {
            name: arena.allocate(byte_size(spec, {}), stream) for name, spec in specs.items()
        }
        self._held: dict[str, weakref.ref[DeviceTensor]] = {}
        self.swaps = 0
        """Copies of a whole cache, in or out."""

    def hold(self, tensors: Mapping[str, DeviceTensor]) -> None:
        """Let ``tensors`` be what the plans work on; their own memory is stale until they leave."""
        if all(self._holds(name, tensor) for name, tensor in tensors.items()):
            return
        self.swaps += 1
        for name, tensor in tensors.items():
            held = self._held[name]() if name in self._held else None
            if held is not None:
                self._copy(held.address, self.addresses[name], held.size)
            self._copy(self.addresses[name], tensor.address, tensor.size)
            self._held[name] = weakref.ref(tensor)

    def _holds(self, name: str, tensor: DeviceTensor) -> bool:
        return name in self._held and self._held[name]() is tensor

    def _copy(self, target: int, source: int, size: int) -> None:
        self._cuda.copy_async(target, source, size, self._stream.handle)
