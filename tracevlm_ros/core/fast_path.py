"""The masks of one frame: encoder, TVP and pixel decoder, and what was known before.

From a model that reads strokes (``Engine.unspoken``) a trace has a mask from its first frame on,
before any word.

Tracking tells where the model has to look, but it mostly has to look where it did in the frame
before. So the encoder may begin there while points are tracked.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.beside import Beside
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.fovea import Field, FoveaConfig, Window, scaled, whole, window_of
from tracevlm_ros.core.label_image import compose
from tracevlm_ros.core.live_trace import LiveTrace, prompt_of
from tracevlm_ros.core.live_traces import LiveTraces
from tracevlm_ros.core.mask_memory import MaskMemory
from tracevlm_ros.core.turns import Turns
from tracevlm_ros.core.types import FloatArray, Frame, Masks, TraceSnapshot


class Look(NamedTuple):
    """``features`` of ``window``, the part of a frame that the model was shown."""

    features: Any
    window: Window


class _Begun(NamedTuple):
    """An encoding of ``window`` of a frame that is on its way."""

    window: Window
    features: Callable[[], Any]


class FastPath:
    """``fovea`` may change between two frames. Without ``beside`` nothing is begun early."""

    def __init__(
        self,
        engine: Engine,
        live: LiveTraces,
        memory: MaskMemory,
        fovea: FoveaConfig,
        beside: Beside | None = None,
    ) -> None:
        self._engine, self._live, self._memory = engine, live, memory
        self.fovea = fovea
        self._beside = beside
        self._window: Window | None = None
        self._begun: _Begun | None = None
        self._turns = Turns()

    def reset(self) -> None:
        """Forget where the model looked; what was begun is waited for."""
        self._window = None
        self._end()

    def begin(self, frame: Frame) -> None:
        """Begin to encode ``frame`` where the model looked in the frame before.

        ``look`` takes it, unless the model has to look elsewhere by then. An engine that needs the
        cores for itself does not begin: tracking would only wait for it.
        """
        self._end()
        window = self._window
        if self._beside is None or not self._engine.info.leaves_cores:
            return
        if window is None or window.frame_hw != _size(frame):
            return
        part = window.cut(frame.image_rgb)
        self._begun = _Begun(window, self._beside(lambda: self._engine.encode(part)))

    def _end(self, window: Window | None = None) -> Any:
        """Features of ``window`` where those are on their way, else None. Two calls of an engine
        must not overlap: what was begun in vain is waited for, whatever became of it."""
        begun, self._begun = self._begun, None
        if begun is None:
            return None
        if begun.window == window:
            return begun.features()
        with contextlib.suppress(Exception):
            begun.features()
        return None

    def look(self, frame: Frame, shown: list[LiveTrace]) -> Look | None:
        """Look at ``frame`` where the traces are, and let the memory do so. None without a trace.

        The memory must have been carried to ``frame``.
        """
        if not shown:
            self.reset()
            return None
        window = window_of(
            [self._places(live, _size(frame)) for live in shown],
            _size(frame), self._engine.info.image_size_hw, self.fovea,
        )  # fmt: skip
        self._window = window
        features = self._end(window)
        if features is None:
            features = self._engine.encode(window.cut(frame.image_rgb))
        self._memory.turn(frame, window)
        self._memory.see(self._engine.descriptors(features))
        return Look(features, window)

    def run(
        self,
        frame: Frame,
        look: Look | None,
        shown: list[LiveTrace],
        snapshots: tuple[TraceSnapshot, ...],
    ) -> Masks:
        """Masks of the ``shown`` traces."""
        if look is None:
            return compose(frame, [], [])
        self._adopt(frame.stamp_ns, shown)
        embeddings = [self._embeddings(live) for live in shown]
        asked = self._turn(frame.stamp_ns, shown, embeddings)
        said: list[Field | None] = [None] * len(shown)
        if asked:
            grounded = self._ground(look, [snapshots[index] for index in asked])
            answers = self._engine.segment(
                grounded,
                [embeddings[index] for index in asked],
                self._priors([shown[index] for index in asked]),
            )
            for index, answer in zip(asked, answers, strict=True):
                said[index] = answer
        trace_ids = [live.trace_id for live in shown]
        resting = {
            trace_id
            for trace_id, embedding, answer in zip(trace_ids, embeddings, said, strict=True)
            if embedding is not None and answer is None
        }
        seeds = {live.trace_id: self._live.surely_seen(live) for live in shown}
        fused = self._memory.fuse(trace_ids, said, seeds, resting)
        return compose(frame, trace_ids, fused, look.window)

    def ground_whole(
        self, frame: Frame, look: Look | None, snapshots: tuple[TraceSnapshot, ...]
    ) -> Any:
        """The engine's handle of all of ``frame`` and its traces, for words."""
        if look is None or not look.window.is_whole:
            look = Look(self._engine.encode(frame.image_rgb), whole(_size(frame)))
        return self._ground(look, snapshots)

    def _ground(self, look: Look, snapshots: Sequence[TraceSnapshot]) -> Any:
        window, limit = look.window, self._engine.info.max_keypoints
        prompts = [
            prompt_of(window.keypoints(s.keypoints), window.size_hw, limit) for s in snapshots
        ]
        return self._engine.ground(look.features, prompts)

    def _turn(
        self, stamp_ns: int, shown: list[LiveTrace], embeddings: list[Field | None]
    ) -> list[int]:
        """Places in ``shown`` of those that the model is asked about in this frame."""
        config = self._memory.config
        carried = {
            live.trace_id: self._memory.knows(live.trace_id)
            for live, embedding in zip(shown, embeddings, strict=True)
            if embedding is not None
        }
        taken = self._turns.take(stamp_ns, carried, config.ask_every, config.ask_within_ms)
        return [index for index, live in enumerate(shown) if live.trace_id in taken]

    def _places(self, live: LiveTrace, size_hw: tuple[int, int]) -> FloatArray:
        """Where a trace may be, (N, 2) in pixels: keypoints that are seen, and the mask of
        the frame before, moved.

        Anywhere in the frame when its object is lost, so that it can be found again.
        """
        keypoints = self._live.snapshot(live).keypoints
        seen = keypoints.xy_px[~keypoints.lost]
        moved = self._memory.moved(live.trace_id)
        if moved is not None and moved.mask.any():
            return np.concatenate([seen, self.fovea.box_within(*moved)])
        if len(seen) and not self._memory.is_at_a_loss(live.trace_id):
            return seen
        return np.array([[0.0, 0.0], [size_hw[1], size_hw[0]]])

    def _adopt(self, stamp_ns: int, shown: list[LiveTrace]) -> None:
        """Take words that are due. They begin another mask, unless the stroke already gave it."""
        for live in shown:
            if not live.adopt_due(stamp_ns):
                continue
            self._turns.forget(live.trace_id)
            if self._engine.unspoken is None:
                self._memory.forget(live.trace_id)

    def _priors(self, shown: list[LiveTrace]) -> Sequence[Field | None] | None:
        if not self._memory.config.prior:
            return None
        priors = [self._memory.prior(live.trace_id) for live in shown]
        size_hw = self._engine.info.mask_size_hw
        return [None if one is None else scaled(one, size_hw) for one in priors]

    def _embeddings(self, live: LiveTrace) -> Field | None:
        if self._live.is_lost(live):
            return None
        return self._engine.unspoken if live.seg_embeddings is None else live.seg_embeddings


def _size(frame: Frame) -> tuple[int, int]:
    height, width = frame.image_rgb.shape[:2]
    return height, width
