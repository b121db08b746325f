"""One module -> one ONNX file, in opset 20 (every operator decomposed) or 24 (static cache).

Small models hold their weights, the big ones stored as fp16 and computed as fp32: they are rounded
to fp16 before PyTorch is traced, so storage loses nothing against the module, and ONNX Runtime
folds the casts when it loads. Big models leave them outside: ``external_weights``.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from engine.contract import PER_CALL, PRIMITIVE, GraphSpec
from engine.export.stored_weights import store_as_fp16

OPSETS = {PRIMITIVE: 20, "static-cache": 24}


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


def trace(
    module: nn.Module,
    spec: GraphSpec,
    example: Mapping[str, Tensor],
    opset: int = OPSETS[PRIMITIVE],
    optimize: bool = True,
) -> Any:
    """The ONNXProgram of ``module`` with the names of ``spec``; PER_CALL symbols are dynamic.

    A module whose parameters are fake gives a program without weights; ``optimize`` must be off.
    """
    arguments = tuple(example[name] for name in spec.inputs)
    axes = [
        {axis: torch.export.Dim.DYNAMIC for axis, symbol in enumerate(tensor.shape)
         if symbol in PER_CALL}
        for tensor in spec.inputs.values()
    ]  # fmt: skip
    with silence():
        program = torch.onnx.export(
            module.eval(),
            arguments,
            dynamo=True,
            dynamic_shapes=_as_called(module, axes),
            opset_version=opset,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            verbose=False,
            optimize=optimize,
        )
    if program is None:
        raise RuntimeError(f"torch.onnx.export gave no program for {type(module).__name__}")
    return program


def _as_called(module: nn.Module, axes: list[Any]) -> tuple[Any, ...]:
    """The axes as ``forward`` takes its tensors: those of a ``*name`` parameter as one tuple."""
    code = type(module).forward.__code__
    named = code.co_argcount - 1
    has_rest = bool(code.co_flags & 0x04)
    return (*axes[:named], tuple(axes[named:])) if has_rest else tuple(axes)


@contextmanager
def silence() -> Iterator[None]:
    """The exporter warns of what is meant."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def write_onnx(
    module: nn.Module,
    spec: GraphSpec,
    example: Mapping[str, Tensor],
    path: Path,
    *,
    store_fp16: bool,
    flavour: str = PRIMITIVE,
    optimize: bool = True,
) -> None:
    """Trace ``module`` with ``example`` and write ``path``, weights inside.

    The exporter's optimiser takes many minutes over the unrolled steps of `track`.
    """
    graph = trace(module, spec, example, OPSETS[flavour], optimize).model_proto
    forget_origin(graph)
    if store_fp16:
        store_as_fp16(graph)
    onnx.save(graph, str(path))


def forget_origin(model: Any) -> None:
    """Drop stack traces and source paths that the exporter records: they name this machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
