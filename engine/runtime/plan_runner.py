"""One plan on one stream: addresses that never change, one captured CUDA graph per shape.

A call copies its inputs to the plan's own addresses, runs, and copies the outputs out; the copies
are small beside the memory that the graph itself reads. The same addresses serve every shape, so a
captured graph stays valid. Launching kernel by kernel costs the host more than a small graph costs
the GPU; replaying a captured graph is one launch.

TensorRT ties a captured graph to its execution context: the context may not be changed or used
otherwise. So each captured shape has a context of its own, and all contexts of a plan share one
block of scratch memory, since a stream runs them one after the other.
"""

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from engine.contract import NEW, GraphSpec
from engine.runtime.backend import NOTHING, Array, Tensor
from engine.runtime.call_sizes import Sizes, bind_sizes, byte_size, shape_of
from engine.runtime.cuda_driver import CudaError
from engine.runtime.device_memory import Arena, DeviceStream, DeviceTensor, PinnedBuffer
from engine.runtime.plan_profiles import Profile, admits
from engine.runtime.tensorrt_library import TensorRt
from engine.runtime.working_cache import WorkingCache
from tracevlm_ros.core.errors import BackendError

_log = logging.getLogger("tracevlm.tensorrt")


class RunnerSetup(NamedTuple):
    """``largest``: symbol of a call -> its largest size. ``max_captured`` 0 captures nothing.

    ``cache`` holds the inputs that are written in place, where the flavour has such.
    """

    graph: str
    spec: GraphSpec
    profiles: tuple[Profile, ...]
    largest: Sizes
    max_captured: int
    cache: WorkingCache | None = None


class Captured(NamedTuple):
    """The context must live as long as the graph."""

    graph: int
    context: Any


class PlanRunner:
    """Runs ``engine`` (a deserialised plan) on ``stream``. Not for two threads at once: callers
    hold ``stream.lock``."""

    def __init__(
        self,
        library: TensorRt,
        engine: Any,
        setup: RunnerSetup,
        arena: Arena,
        stream: DeviceStream,
    ) -> None:
        self._module = library.module
        self._logger = library.logger
        self._engine = engine
        self._setup = setup
        self._arena = arena
        self._cuda = arena.cuda
        self._stream = stream
        specs = {**setup.spec.inputs, **setup.spec.outputs}
        self._shared = {} if setup.cache is None else dict(setup.cache.addresses)
        written = {f"{NEW}{name}": address for name, address in self._shared.items()}
        room = {
            name: byte_size(spec, setup.largest)
            for name, spec in specs.items()
            if name not in self._shared and name not in written
        }
        self._addresses = {name: arena.allocate(size, stream) for name, size in room.items()}
        self._addresses |= self._shared | written
        self._pinned = {name: PinnedBuffer(arena.cuda, size) for name, size in room.items()}
        self._scratch_size = scratch_size(engine)
        self._scratch = arena.allocate(self._scratch_size, stream)
        self._plain: dict[int, Any] = {}
        self._captured: OrderedDict[tuple[int, ...], Captured] = OrderedDict()
        self._seen: set[tuple[int, ...]] = set()
        self._capture = setup.max_captured > 0
        self._pinned_in_use = False
        self.problem = ""
        """Why shapes are no longer captured; empty as long as they are."""

    def run(
        self,
        inputs: Mapping[str, Tensor],
        resident: Collection[str],
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``."""
        given = {name: self._require(name, inputs[name]) for name in self._setup.spec.inputs}
        shapes = {
            name: tensor.shape() if isinstance(tensor, DeviceTensor) else tensor.shape
            for name, tensor in given.items()
        }
        sizes = bind_sizes(self._setup.spec, shapes)
        profile = self._choose(sizes)
        strangers = self._bring_in(given)
        self._launch(profile, sizes)
        outputs = self._take_out(sizes, resident, in_place)
        is_host = len(resident) < len(outputs)
        if is_host or strangers:
            self._cuda.synchronize(self._stream.handle)
            self._pinned_in_use = False
        return {
            name: found if isinstance(found, DeviceTensor) else self._pinned[name].read(*found)
            for name, found in outputs.items()
        }

    @property
    def captured(self) -> int:
        """How many shapes are captured now."""
        return len(self._captured)

    def close(self) -> None:
        """Free graphs, contexts and host memory; device memory goes with the arena."""
        for item in self._captured.values():
            self._cuda.destroy_graph(item.graph)
        for pinned in self._pinned.values():
            pinned.close()
        self._captured.clear()
        self._plain.clear()
        self._engine = None

    def _require(self, name: str, tensor: Tensor) -> Array | DeviceTensor:
        spec = self._setup.spec.inputs[name]
        if isinstance(tensor, np.ndarray):
            tensor = np.ascontiguousarray(tensor)
        elif not isinstance(tensor, DeviceTensor):
            raise BackendError(
                f"input '{name}' of graph '{self._setup.graph}' is a {type(tensor).__name__} of "
                "another back end; pass an array"
            )
        if tensor.dtype != spec.dtype:
            raise BackendError(
                f"input '{name}' of graph '{self._setup.graph}' is {tensor.dtype}, the model takes "
                f"{spec.dtype}; convert it first"
            )
        return tensor

    def _choose(self, sizes: Sizes) -> int:
        for index, profile in enumerate(self._setup.profiles):
            if admits(profile, sizes):
                return index
        limits = [
            {name: f"{bounds.least}..{bounds.most}" for name, bounds in profile.items()}
            for profile in self._setup.profiles
        ]
        raise BackendError(
            f"graph '{self._setup.graph}' is called with {dict(sizes)}, its plan admits {limits}; "
            "stay within the limits of manifest.json, or export with larger ones"
        )

    def _bring_in(self, given: Mapping[str, Array | DeviceTensor]) -> bool:
        """Copy to the plan's addresses; true when an input was written on another stream.

        Such an input is waited for before, and this stream is waited for afterwards: its owner may
        then free it at once.
        """
        if self._pinned_in_use:
            self._cuda.synchronize(self._stream.handle)
        if self._setup.cache is not None:
            self._setup.cache.hold(self._cached(given))
        strangers = False
        for name, tensor in given.items():
            if name in self._shared:
                continue
            if isinstance(tensor, DeviceTensor):
                source, size = tensor.address, tensor.size
                if tensor.stream is not self._stream:
                    strangers = True
                    self._cuda.synchronize(tensor.stream.handle)
            else:
                source, size = self._pinned[name].address, self._pinned[name].write(tensor)
                self._pinned_in_use = True
            self._cuda.copy_async(self._addresses[name], source, size, self._stream.handle)
        return strangers

    def _cached(self, given: Mapping[str, Array | DeviceTensor]) -> dict[str, DeviceTensor]:
        found = {}
        for name in self._shared:
            tensor = given[name]
            if not isinstance(tensor, DeviceTensor):
                raise BackendError(
                    f"input '{name}' of graph '{self._setup.graph}' is an array; pass a tensor "
                    "that `zeros` made, it is written in place"
                )
            found[name] = tensor
        return found

    def _take_out(
        self, sizes: Sizes, resident: Collection[str], in_place: Mapping[str, str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, spec in self._setup.spec.outputs.items():
            if name in in_place:
                continue
            shape = shape_of(spec, sizes)
            size = byte_size(spec, sizes)
            if name in resident:
                kept = DeviceTensor(self._arena, self._stream, shape, spec.dtype)
                target, found[name] = kept.address, kept
            else:
                target, found[name] = self._pinned[name].address, (shape, spec.dtype)
            self._cuda.copy_async(target, self._addresses[name], size, self._stream.handle)
        return found

    def _launch(self, profile: int, sizes: Sizes) -> None:
        """Replay, or run; a shape that comes again is captured (a fixed one at once)."""
        key = tuple(sizes.values())
        if key in self._captured:
            self._captured.move_to_end(key)
            self._cuda.launch(self._captured[key].graph, self._stream.handle)
            return
        is_worth = self._capture and (not sizes or key in self._seen)
        self._seen.add(key)
        if not is_worth:
            if profile not in self._plain:
                self._plain[profile] = self._make_context(profile)
            self._enqueue(self._plain[profile], sizes)
            return
        context = self._make_context(profile)
        self._enqueue(context, sizes)
        self._try_capture(key, context)

    def _try_capture(self, key: tuple[int, ...], context: Any) -> None:
        """Capture what ``context`` has just run; give capturing up, with a warning, if it fails."""
        capturable = getattr(context, "is_stream_capturable", None)
        problem = ""
        if capturable is not None and not capturable(self._stream.handle):
            problem = "the library says that it cannot be captured"
        else:
            try:
                graph = self._record(context)
            except BackendError as error:
                problem = str(error)
        if problem:
            self._capture = False
            self.problem = f"graph '{self._setup.graph}' runs without CUDA graphs: {problem}"
            _log.warning("%s", self.problem)
            return
        while len(self._captured) >= self._setup.max_captured:
            self._cuda.synchronize(self._stream.handle)
            _, oldest = self._captured.popitem(last=False)
            self._cuda.destroy_graph(oldest.graph)
        self._captured[key] = Captured(graph, context)

    def _record(self, context: Any) -> int:
        stream = self._stream.handle
        self._cuda.begin_capture(stream)
        try:
            done = context.execute_async_v3(stream)
        except Exception as error:
            self._abandon_capture()
            raise BackendError(str(error)) from error
        if not done:
            self._abandon_capture()
            raise BackendError(self._said())
        return self._cuda.end_capture(stream)

    def _abandon_capture(self) -> None:
        """Bring the stream back to running; whatever was recorded is of no use."""
        try:
            self._cuda.destroy_graph(self._cuda.end_capture(self._stream.handle))
        except CudaError:
            return

    def _make_context(self, profile: int) -> Any:
        strategy = self._module.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise BackendError(
                f"graph '{self._setup.graph}' got no execution context: {self._said()}; free GPU "
                "memory, or use a smaller model"
            )
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._scratch, self._scratch_size)
        else:
            context.device_memory = self._scratch
        if profile != context.active_optimization_profile:
            if not context.set_optimization_profile_async(profile, self._stream.handle):
                raise BackendError(
                    f"graph '{self._setup.graph}' refuses profile {profile}: {self._said()}; build "
                    "the plans again with `tracevlm build --rebuild`"
                )
            self._cuda.synchronize(self._stream.handle)
        for name, address in self._addresses.items():
            context.set_tensor_address(name, address)
        return context

    def _enqueue(self, context: Any, sizes: Sizes) -> None:
        for name, spec in self._setup.spec.inputs.items():
            if not context.set_input_shape(name, shape_of(spec, sizes)):
                raise BackendError(
                    f"graph '{self._setup.graph}' refuses {name} {shape_of(spec, sizes)}: "
                    f"{self._said()}; build the plans again with `tracevlm build --rebuild`"
                )
        if not context.execute_async_v3(self._stream.handle):
            raise BackendError(
                f"graph '{self._setup.graph}' failed in TensorRT: {self._said()}; free GPU memory "
                "if it ran out, else build again with `tracevlm build --rebuild`"
            )

    def _said(self) -> str:
        return str(self._logger.last_error) or "it said nothing"


def scratch_size(engine: Any) -> int:
    """Bytes of scratch memory; TensorRT 10.0 knows only the older name, 11 only the newer."""
    found = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if found is None else found)
