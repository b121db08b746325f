"""One module -> one ONNX file whose big weights are stored as fp16 and computed as fp32.

The weights are rounded to fp16 before PyTorch is traced, so storage loses nothing against the
module; ONNX Runtime folds the casts when it loads. Opset 20: every operator is decomposed, which
old parsers and every back end read.
"""

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor, nn

from engine.contract import PER_CALL, GraphSpec
from engine.export.stored_weights import store_as_fp16

OPSET = 20


class ExampleInputs(NamedTuple):
    """Inputs to trace with; symbols of ``PER_CALL`` become dynamic axes."""

    tensors: dict[str, Tensor]


def round_weights(model: nn.Module) -> None:
    """Round every parameter to fp16 in place; raises OverflowError where one does not fit."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            rounded = parameter.half()
            if not torch.isfinite(rounded).all():
                raise OverflowError(
                    f"{name} holds {parameter.abs().max():.3g}, fp16 ends at 65504; train longer "
                    "with a smaller learning rate"
                )
            parameter.copy_(rounded.to(parameter.dtype))


def write_onnx(
    module: nn.Module, spec: GraphSpec, example: ExampleInputs, path: Path, store_fp16: bool
) -> None:
    """Trace ``module`` with ``example`` and write ``path`` with the names of ``spec``."""
    arguments = tuple(example.tensors[name] for name in spec.inputs)
    axes = [
        {axis: torch.export.Dim.DYNAMIC for axis, symbol in enumerate(tensor.shape)
         if symbol in PER_CALL}
        for tensor in spec.inputs.values()
    ]  # fmt: skip
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamo=True,
                dynamic_shapes=tuple(axes),
                opset_version=OPSET,
                input_names=list(spec.inputs),
                output_names=list(spec.outputs),
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {path.name}")
    graph = program.model_proto
    _forget_origin(graph)
    if store_fp16:
        store_as_fp16(graph)
    onnx.save(graph, str(path))


def _forget_origin(model: Any) -> None:
    """Drop stack traces and source paths that the exporter records: they name this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
