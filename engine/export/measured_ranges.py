"""Ranges of what the products of a model with weights outside its graphs are given.

The graphs run as they were exported, unoptimised: ONNX Runtime then maps the weights from their
files and multiplies with them where they lie, instead of copying all of them turned, widened and
packed. One tensor that must be widened is in memory at a time.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime

from engine.contract import TensorSpec
from engine.export.calibration_runs import described
from engine.export.outside_products import drop_unused, find_products
from engine.runtime.backend import NOTHING, Resident, Tensor, host
from engine.runtime.manifest import Manifest
from engine.runtime.model_engine import ModelEngine
from engine.runtime.ort_backend import OrtResident, session_options
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import Image

_THREADS = 2
_CONTRIB = "com.microsoft"
_LOW, _HIGH = "__low", "__high"


class Range(NamedTuple):
    low: float
    high: float

    def widened(self, low: float, high: float) -> "Range":
        return Range(min(self.low, low), max(self.high, high))


Ranges = dict[str, Range]
"""Tensor that a product takes -> range over all calls."""


class Measured(NamedTuple):
    """Graph -> its ranges, absent where no call reached it; ``unmasked`` as in CalibrationRuns."""

    ranges: dict[str, Ranges]
    unmasked: int


def measure_ranges(
    manifest: Manifest, frames: Sequence[Image] | Image, prompts: Sequence[TracePrompt]
) -> Measured:
    """Describe and segment each trace on its frame with the model as it is.

    Raises EngineMismatch for a graph whose weights are not where it says.
    """
    backend = MeasuringBackend(manifest)
    engine = ModelEngine(manifest, backend)
    try:
        unmasked = sum(not is_masked for is_masked in described(engine, frames, prompts))
    finally:
        engine.close()
    return Measured(backend.ranges, unmasked)


class _Opened(NamedTuple):
    graph: str
    session: Any


class MeasuringBackend:
    """ONNX Runtime on the CPU, with the ranges of every graph's products as further outputs."""

    name = "onnxruntime-cpu, measuring"

    def __init__(self, manifest: Manifest) -> None:
        self.ranges: dict[str, Ranges] = {}
        self._graphs = manifest.graphs
        self._contents = {
            name: measuring_graph(path).SerializeToString()
            for name, path in manifest.graph_paths.items()
        }
        self._directory = manifest.directory
        self._opened: _Opened | None = None

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``."""
        session = self._session(graph)
        names = [item.name for item in session.get_outputs()]
        given = {name: np.ascontiguousarray(host(inputs[name])) for name in
                 self._graphs[graph].inputs}  # fmt: skip
        found = dict(zip(names, session.run(names, given), strict=True))
        self._note(graph, found)
        outputs: dict[str, Any] = {}
        for name in self._graphs[graph].outputs:
            if name in in_place:
                _overwrite(inputs[in_place[name]], found[name])
            else:
                kept = onnxruntime.OrtValue.ortvalue_from_numpy
                outputs[name] = OrtResident(kept(found[name])) if name in resident else found[name]
        return outputs

    def _session(self, graph: str) -> Any:
        """One at a time: opening copies no weights, while graphs that share them would map them
        once each."""
        if self._opened is None or self._opened.graph != graph:
            self._opened = None
            session = _open(self._contents[graph], self._directory)
            self._opened = _Opened(graph, session)
        return self._opened.session

    def _note(self, graph: str, found: Mapping[str, Any]) -> None:
        ranges = self.ranges.setdefault(graph, {})
        for name in found:
            if name.endswith(_LOW):
                tensor = name.removesuffix(_LOW)
                low, high = float(found[name]), float(found[tensor + _HIGH])
                ranges[tensor] = ranges.get(tensor, Range(low, high)).widened(low, high)

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """See ``Backend.zeros``; caches of an fp32 model are fp32."""
        return {
            name: OrtResident(
                onnxruntime.OrtValue.ortvalue_from_numpy(
                    np.zeros([int(size) for size in spec.shape], spec.dtype)
                )
            )
            for name, spec in specs.items()
        }

    def close(self) -> None:
        self._opened = None


def _overwrite(tensor: Tensor, values: Any) -> None:
    assert isinstance(tensor, OrtResident), "a static cache is made by `zeros`"
    tensor.value.update_inplace(values)


def _open(content: bytes, directory: Path) -> Any:
    options = session_options(_THREADS)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False  # it keeps what one widened weight took, and doubles
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(directory)
    )
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def measuring_graph(path: Path) -> Any:
    """The graph without its weights, with lowest and highest value of each product's left side as
    outputs, and products that read their weight unturned."""
    model = onnx.load(path, load_external_data=False)
    lefts: dict[str, None] = {}
    for product in find_products(model):
        lefts[product.left] = None
        if product.node.op_type == "MatMul":
            product.node.op_type, product.node.domain = "FusedMatMul", _CONTRIB
            product.node.input[1] = product.as_stored
            product.node.attribute.append(onnx.helper.make_attribute("transB", 1))
    for name in lefts:
        for operator, suffix in (("ReduceMin", _LOW), ("ReduceMax", _HIGH)):
            output = f"{name}{suffix}"
            model.graph.node.append(onnx.helper.make_node(operator, [name], [output], keepdims=0))
            info = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [])
            model.graph.output.append(info)
    model.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))
    drop_unused(model)
    return model
