"""Two libraries on one CPU: masks by OpenVINO, words by ONNX Runtime, each where it is faster.

The prompt and each token are calls of another length, for which OpenVINO prepares its kernels
anew, while ONNX Runtime has fewer and slower kernels for pictures (ADR 8 has the figures).
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from engine.contract import TensorSpec
from engine.runtime.backend import NOTHING, Backend, Resident, Tensor, host
from engine.runtime.manifest import Manifest
from engine.runtime.openvino_backend import OpenVinoBackend
from engine.runtime.ort_backend import OrtBackend, OrtResident

LANGUAGE = ("prefill", "decode")
"""The graphs of ONNX Runtime; all others are OpenVINO's."""


class MixedBackend:
    """Both back ends over one model; ``notes`` say which graph runs where.

    Each opens its own graphs only. Raises what they raise.
    """

    def __init__(self, manifest: Manifest) -> None:
        others = [name for name in manifest.graphs if name not in LANGUAGE]
        pictures = _with_graphs(manifest, others)
        self._pictures: Backend = OpenVinoBackend(pictures)
        self._language: Backend = OrtBackend(_with_graphs(manifest, LANGUAGE))
        self.notes = (
            f"{', '.join(LANGUAGE)} run on {self._language.name}, "
            f"{', '.join(pictures.graphs)} on {self._pictures.name}",
        )

    @property
    def name(self) -> str:
        return "mixed-cpu"

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        """See ``Backend.run``. What one library keeps, the other reads from host memory."""
        if graph not in LANGUAGE:
            return self._pictures.run(graph, inputs, resident, in_place)
        readable = {name: _for_onnx_runtime(tensor) for name, tensor in inputs.items()}
        return self._language.run(graph, readable, resident, in_place)

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        """Refused with EngineMismatch: static caches are not for OpenVINO."""
        return self._pictures.zeros(specs)

    def close(self) -> None:
        self._pictures.close()
        self._language.close()


def _with_graphs(manifest: Manifest, names: Collection[str]) -> Manifest:
    """``manifest`` of a model that has only the graphs ``names``."""
    return dataclasses.replace(
        manifest, graphs={name: manifest.graphs[name] for name in names if name in manifest.graphs}
    )


def _for_onnx_runtime(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, OrtResident) else host(tensor)
