"""Where a text is in a frame: the trace that the model draws of it, read back."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.runtime.language import Language, begin_turn
from engine.runtime.memory_pressure import MemoryPressure
from tracevlm_ros.core.answers import parse_trace
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.types import FloatArray

STEP_S = 0.175
"""From one keypoint of a drawn trace to the next, since a model draws places and no times: the
median of training's acts, thinned to six keypoints (60 scenes)."""


def find_points(
    language: Language,
    memory: MemoryPressure,
    tokens: NDArray[np.float32],
    text: str,
    cancelled: Callable[[], bool],
) -> FloatArray | None:
    """Points (K, 2) in 0..1 of what ``text`` describes in the frame of the image ``tokens`` (N, D).

    None when the answer holds no point, and soon once ``cancelled()``. Part of the slow path: given
    up, with an error, when the fast path needs the memory.
    """
    question = language.search(tokens, text)
    said = ""
    if cancelled():
        return None
    with memory.describing() as look:
        turn = begin_turn(question, language.read_prefix(question))
        for part in language.draw(turn, question, cancelled):
            look()
            said = part
    points = parse_trace(said).points
    return None if cancelled() or not len(points) else points


def as_prompt(points: FloatArray, max_keypoints: int) -> TracePrompt:
    """``points`` as a trace drawn in one go; those beyond ``max_keypoints`` are left out."""
    kept = points[:max_keypoints]
    dt_s = np.full(len(kept), STEP_S)
    dt_s[0] = 0.0
    return TracePrompt(kept, dt_s, np.zeros(len(kept), dtype=np.bool_))
