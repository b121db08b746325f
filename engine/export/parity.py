"""PyTorch against ONNX Runtime, graph by graph, on random inputs of several sizes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch

from engine.contract import GRAPHS
from engine.export.graphs import GRAPH_MODULES
from engine.export.model_directory import example_inputs, model_sizes
from training.model.tracevlm import TraceVLM


class Parity(NamedTuple):
    """Largest absolute difference, relative to the output's largest magnitude where that is > 1."""

    graph: str
    output: str
    difference: float


def measure_parity(model: TraceVLM, directory: Path) -> list[Parity]:
    """``model`` must hold the weights that were exported (rounded)."""
    sizes = model_sizes(model.config)
    found = []
    for name, spec in GRAPHS.items():
        session = onnxruntime.InferenceSession(
            str(directory / f"{name}.onnx"), providers=["CPUExecutionProvider"]
        )
        module = GRAPH_MODULES[name](model).eval()
        worst = dict.fromkeys(spec.outputs, 0.0)
        for seed, (traces, steps) in enumerate(((1, 1), (3, 7))):
            tensors = example_inputs(
                name, sizes, traces, sizes["N"] + 9 + seed, steps, seed
            ).tensors
            given = session.run(
                list(spec.outputs), {key: value.numpy() for key, value in tensors.items()}
            )
            with torch.no_grad():
                wanted = module(*(tensors[key] for key in spec.inputs))
            outputs = (wanted,) if isinstance(wanted, torch.Tensor) else wanted
            for key, one, other in zip(spec.outputs, given, outputs, strict=True):
                worst[key] = max(worst[key], _difference(one, other.numpy()))
        found += [Parity(name, key, value) for key, value in worst.items()]
    return found


def _difference(given: np.ndarray, wanted: np.ndarray) -> float:
    if given.shape != wanted.shape or not np.isfinite(given).all():
        return float("inf")
    return float(np.abs(given - wanted).max() / max(1.0, np.abs(wanted).max()))
