"""An engine whose calls of the fast path are timed, so that diagnostics tell model from node."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import Engine, EngineInfo, TracePrompt
from tracevlm_ros.core.types import Description, Image
from tracevlm_ros.nodes.stopwatch import Stopwatch


class TimedEngine:
    """``engine`` itself, with the stages ``engine_encode``, ``engine_ground``, ``engine_segment``.

    Descriptions are streamed and timed where they are asked for (``describe_whole``).
    """

    def __init__(self, engine: Engine, stopwatch: Stopwatch) -> None:
        self._engine = engine
        self._stopwatch = stopwatch

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def encode(self, image_rgb: Image) -> Any:
        start_s = time.monotonic()
        features = self._engine.encode(image_rgb)
        self._stopwatch.add("engine_encode", start_s)
        return features

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> Any:
        start_s = time.monotonic()
        grounded = self._engine.ground(features, prompts)
        self._stopwatch.add("engine_ground", start_s)
        return grounded

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        start_s = time.monotonic()
        logits = self._engine.segment(grounded, seg_embeddings, priors)
        self._stopwatch.add("engine_segment", start_s)
        return logits

    def describe(
        self,
        grounded: Any,
        index: int,
        question: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        return self._engine.describe(grounded, index, question, cancelled)

    def close(self) -> None:
        self._engine.close()
