"""Where a text is in a frame: the trace that the model draws of it, read back."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.runtime.language import Language, begin_turn
from engine.runtime.memory_pressure import MemoryPressure
from tracevlm_ros.core.answers import parse_trace
from tracevlm_ros.core.types import FloatArray


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
