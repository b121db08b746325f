"""Whose mask the model is asked for in a frame, where the mask memory carries those of the others.

Asked half as often, TVP and mask decoder cost half. What that does to masks: docs/masks.md.
"""

from collections.abc import Mapping
from typing import NamedTuple

NS_PER_MS = 1_000_000


class _Asked(NamedTuple):
    """When the model was last asked about a trace: so many frames ago, on the frame of a stamp."""

    frames_ago: int
    stamp_ns: int


class Turns:
    """Traces take turns, so that frames cost about the same."""

    def __init__(self) -> None:
        self._asked: dict[int, _Asked] = {}

    def forget(self, trace_id: int) -> None:
        """Its turn is next, known or not."""
        self._asked.pop(trace_id, None)

    def take(
        self, stamp_ns: int, carried: Mapping[int, bool], every: int, within_ms: float
    ) -> frozenset[int]:
        """Ids of the traces to ask about in the frame of ``stamp_ns``; call it once a frame.

        ``carried`` tells of each trace that could be asked about whether the memory knows its mask.
        Where not, or where the last answer is ``within_ms`` old or older, it is asked about; each
        other one in every ``every``-th frame.
        """
        last = {trace_id: self._asked[trace_id] for trace_id in carried if trace_id in self._asked}
        must = {
            trace_id
            for trace_id, known in carried.items()
            if not known
            or trace_id not in last
            or stamp_ns - last[trace_id].stamp_ns >= within_ms * NS_PER_MS
        }
        may = [
            trace_id
            for trace_id, asked in last.items()
            if trace_id not in must and asked.frames_ago + 1 >= every
        ]
        may.sort(key=lambda trace_id: -last[trace_id].frames_ago)
        room = max(0, -(-len(carried) // every) - len(must))
        taken = frozenset(must) | frozenset(may[:room])
        self._asked = {
            trace_id: _Asked(0, stamp_ns)
            if trace_id in taken
            else last[trace_id]._replace(frames_ago=last[trace_id].frames_ago + 1)
            for trace_id in carried
        }
        return taken
