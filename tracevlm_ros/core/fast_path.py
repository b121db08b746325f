"""The masks of one frame: encoder, TVP and pixel decoder, and what was known before.

From a model that reads strokes (``Engine.unspoken``) a trace has a mask from its first frame on,
before any word.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.label_image import compose
from tracevlm_ros.core.live_trace import LiveTrace, prompt_of
from tracevlm_ros.core.live_traces import LiveTraces
from tracevlm_ros.core.mask_memory import MaskMemory
from tracevlm_ros.core.types import Frame, Masks, TraceSnapshot

Field = NDArray[np.float32]


class FastPath:
    def __init__(self, engine: Engine, live: LiveTraces, memory: MaskMemory) -> None:
        self._engine, self._live, self._memory = engine, live, memory

    def look(self, frame: Frame, shown: list[LiveTrace]) -> Any:
        """The engine's features of ``frame``, which the memory sees too; None without a trace.

        The memory must have been carried to ``frame``.
        """
        if not shown:
            return None
        features = self._engine.encode(frame.image_rgb)
        self._memory.see(self._engine.descriptors(features))
        return features

    def run(
        self,
        frame: Frame,
        features: Any,
        shown: list[LiveTrace],
        snapshots: tuple[TraceSnapshot, ...],
    ) -> tuple[Masks, Any]:
        """Masks of the ``shown`` traces, and the engine's handle of this frame (None: no trace)."""
        if not shown:
            return compose(frame, [], []), None
        height, width = frame.image_rgb.shape[:2]
        limit = self._engine.info.max_keypoints
        prompts = [prompt_of(s.keypoints, (height, width), limit) for s in snapshots]
        grounded = self._engine.ground(features, prompts)
        self._adopt(frame.stamp_ns, shown)
        trace_ids = [live.trace_id for live in shown]
        said = self._segment(grounded, shown)
        seeds = {live.trace_id: self._live.surely_seen(live) for live in shown}
        return compose(frame, trace_ids, self._memory.fuse(trace_ids, said, seeds)), grounded

    def _adopt(self, stamp_ns: int, shown: list[LiveTrace]) -> None:
        """Take words that are due. They begin another mask, unless the stroke already gave it."""
        for live in shown:
            if live.adopt_due(stamp_ns) and self._engine.unspoken is None:
                self._memory.forget(live.trace_id)

    def _segment(self, grounded: Any, shown: list[LiveTrace]) -> list[Field | None]:
        embeddings = [self._embeddings(live) for live in shown]
        is_told = self._memory.config.prior
        priors = [self._memory.prior(live.trace_id) for live in shown] if is_told else None
        return self._engine.segment(grounded, embeddings, priors)

    def _embeddings(self, live: LiveTrace) -> Field | None:
        if self._live.is_lost(live):
            return None
        return self._engine.unspoken if live.seg_embeddings is None else live.seg_embeddings
