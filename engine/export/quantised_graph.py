"""One exported graph -> the same graph with explicit quantise and dequantise nodes (Q/DQ).

Done by ``onnxruntime.quantization``; what is decided here is which products are quantised and how.
Only matrix products with constant weights are: on this family they are most of the arithmetic,
while quantised convolutions and attention gained nothing (ADR 18). Products give fp32, so that
norms, softmax and residual sums keep their precision.
"""

import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    create_calibrator,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from engine.export.calibration_runs import GraphInputs
from engine.export.fp8_graph import insert_fp8
from engine.export.precisions import INT4_BLOCK, Recipe
from engine.export.stored_weights import store_as_fp16
from tracevlm_ros.core.errors import EngineError

_ACTIVATIONS = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
_PRODUCTS = ("MatMul", "Gemm")
_INT4_OPSET = 21


def quantise_graph(source: Path, target: Path, recipe: Recipe, runs: Sequence[GraphInputs]) -> int:
    """Write ``target`` and return how many products were quantised.

    Raises EngineError for a graph that is quantised already, that has no product with constant
    weights, or for which ``runs`` is empty although activations must be measured.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folded = Path(scratch) / "folded.onnx"
        model = fold_weights(source, folded)
        products = constant_products(model)
        if not products:
            raise EngineError(f"{source.name} holds no matrix product to quantise; leave it out")
        if not recipe.activations:
            _quantise_weights(model, target)
        elif not runs:
            raise unreached(source.stem)
        else:
            _quantise_products(folded, target, recipe, runs, products)
    _tidy(target)
    return len(products)


def unreached(graph: str) -> EngineError:
    return EngineError(
        f"the calibration set never reached graph '{graph}': the model ended no answer with "
        f"[SEG]; give another set, or leave it with --keep {graph}"
    )


def fold_weights(source: Path, target: Path) -> Any:
    """Write and return the graph with weights as plain fp32 constants and a name for every node, by
    ONNX Runtime's basic optimisations, which keep to standard operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise EngineError(f"{source} is quantised already; give the directory that was exported")
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.save(model, str(target))
    return model


def constant_products(model: Any) -> list[str]:
    """Names of the matrix products whose second factor is a constant."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _PRODUCTS and node.input[1] in constants
    ]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, runs: Sequence[GraphInputs]) -> None:
        self._runs: Iterator[GraphInputs] = iter(runs)

    def get_next(self) -> GraphInputs | None:
        return next(self._runs, None)


def _quantise_products(
    source: Path, target: Path, recipe: Recipe, runs: Sequence[GraphInputs], products: list[str]
) -> None:
    if recipe.activations == "fp8":
        model = insert_fp8(onnx.load(source), products, largest_magnitudes(source, runs))
        onnx.save(model, str(target))
        return
    with _quiet():
        quantize_static(
            str(source),
            str(target),
            _Reader(runs),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=products,
            per_channel=True,
            activation_type=_ACTIVATIONS[recipe.activations],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "OpTypesToExcludeOutputQuantization": list(_PRODUCTS),
                "WeightSymmetric": True,
                "ActivationSymmetric": recipe.is_symmetric,
                "QuantizeBias": not recipe.is_symmetric,  # TensorRT takes no int32 bias
            },
        )


def largest_magnitudes(source: Path, runs: Sequence[GraphInputs]) -> dict[str, float]:
    """Tensor -> largest magnitude over ``runs``, of every tensor that a product takes or makes."""
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        calibrator = create_calibrator(
            source,
            list(_PRODUCTS),
            augmented_model_path=str(Path(scratch) / "measured.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Reader(runs))
        ranges = calibrator.compute_data()
    return {
        name: float(np.abs(np.asarray(data.range_value)).max()) for name, data in ranges.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime.quantization prints and logs every step that it takes."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _quantise_weights(model: Any, target: Path) -> None:
    """Blocks of ``INT4_BLOCK`` weights along the summed axis share a scale; zero stays 0."""
    _standard_only(model)
    converted = onnx.version_converter.convert_version(model, _INT4_OPSET)
    quantiser = MatMulNBitsQuantizer(
        converted,
        algo_config=DefaultWeightOnlyQuantConfig(
            block_size=INT4_BLOCK,
            is_symmetric=True,
            accuracy_level=4,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=("MatMul",),
        ),
    )
    with _quiet():
        quantiser.process()
    quantiser.model.save_model_to_file(str(target))


def _tidy(path: Path) -> None:
    """Standard operators only, big fp32 constants stored as fp16 where that loses nothing."""
    model = onnx.load(path)
    _standard_only(model)
    store_as_fp16(model)
    onnx.save(model, str(path))


def _standard_only(model: Any) -> None:
    """Drop the operator sets that ONNX Runtime declares and no node uses."""
    used = {node.domain for node in model.graph.node}
    kept = [item for item in model.opset_import if item.domain in used | {""}]
    del model.opset_import[:]
    model.opset_import.extend(kept)
