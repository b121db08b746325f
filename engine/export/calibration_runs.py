"""What each graph is given while an engine works on a calibration set."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.contract import TensorSpec
from engine.runtime.backend import NOTHING, Array, Backend, Resident, Tensor, host
from engine.runtime.loading import load_backend
from engine.runtime.manifest import Manifest
from engine.runtime.model_engine import ModelEngine
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import Image

GraphInputs = dict[str, Array]
DECODE_STEPS_KEPT = 4
"""Of one caption: spread evenly, the pass over ``[SEG]`` and the codebook included."""


class CalibrationRuns(NamedTuple):
    """Graph -> inputs of its calls; ``unmasked`` samples ended without ``[SEG]``, so no mask."""

    inputs: dict[str, list[GraphInputs]]
    unmasked: int


class Recorder:
    """A back end that keeps a copy of what each graph is given."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.given: dict[str, list[GraphInputs]] = {}

    @property
    def name(self) -> str:
        return self._backend.name

    def run(
        self,
        graph: str,
        inputs: Mapping[str, Tensor],
        resident: Collection[str] = (),
        in_place: Mapping[str, str] = NOTHING,
    ) -> dict[str, Any]:
        kept = {name: np.array(host(tensor)) for name, tensor in inputs.items()}
        self.given.setdefault(graph, []).append(kept)
        return self._backend.run(graph, inputs, resident, in_place)

    def zeros(self, specs: Mapping[str, TensorSpec]) -> dict[str, Resident]:
        return self._backend.zeros(specs)

    def close(self) -> None:
        self._backend.close()


def record_runs(
    manifest: Manifest, frames: Sequence[Image] | Image, prompts: Sequence[TracePrompt]
) -> CalibrationRuns:
    """Describe and segment each trace on its frame with the model as it is."""
    recorder = Recorder(load_backend(manifest, "onnxruntime-cpu").backend)
    engine = ModelEngine(manifest, recorder)
    found: dict[str, list[GraphInputs]] = {name: [] for name in manifest.graphs}
    unmasked = 0
    try:
        for is_masked in described(engine, frames, prompts):
            unmasked += not is_masked
            for name, calls in recorder.given.items():
                limit = DECODE_STEPS_KEPT if name == "decode" else 1
                found[name] += [calls[place] for place in spread(len(calls), limit)]
            recorder.given = {}
    finally:
        engine.close()
    return CalibrationRuns(found, unmasked)


def described(
    engine: ModelEngine, frames: Sequence[Image] | Image, prompts: Sequence[TracePrompt]
) -> Iterator[bool]:
    """Describe and segment each trace on its frame; tells whether the answer asked for a mask."""
    for frame, prompt in zip(frames, prompts, strict=True):
        grounded = engine.ground(engine.encode(frame), [prompt])
        *_, last = engine.describe(grounded, 0)
        engine.segment(grounded, [last.seg_embeddings])
        yield last.seg_embeddings is not None


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of ``count`` places, evenly, the last one included."""
    kept = min(count, limit)
    return [count - 1 - (index * count) // kept for index in reversed(range(kept))]
