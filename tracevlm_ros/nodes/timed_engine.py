"""An engine whose calls of the fast path are timed, so that diagnostics tell model from node."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import Engine, TracePrompt
from tracevlm_ros.core.engine_wrapper import EngineWrapper
from tracevlm_ros.core.types import Image
from tracevlm_ros.nodes.stopwatch import Stopwatch


class TimedEngine(EngineWrapper):
    """``engine`` itself, with the stages ``engine_encode``, ``engine_ground``, ``engine_segment``.

    Descriptions are streamed and timed where they are asked for (``describe_whole``).
    """

    def __init__(self, engine: Engine, stopwatch: Stopwatch) -> None:
        super().__init__(engine)
        self._stopwatch = stopwatch

    def encode(self, image_rgb: Image) -> Any:
        start_s = time.monotonic()
        features = self.inner.encode(image_rgb)
        self._stopwatch.add("engine_encode", start_s)
        return features

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> Any:
        start_s = time.monotonic()
        grounded = self.inner.ground(features, prompts)
        self._stopwatch.add("engine_ground", start_s)
        return grounded

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        start_s = time.monotonic()
        logits = self.inner.segment(grounded, seg_embeddings, priors)
        self._stopwatch.add("engine_segment", start_s)
        return logits
