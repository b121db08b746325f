"""Whether gaze and frames are of one time: the stamps that each of them covers."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Frame, GazeSample, PenState
from tracevlm_ros.evaluation.recording import Sample

_NS_PER_S = 1e9


class Span(NamedTuple):
    """The first and the last stamp of a stream, both included."""

    first_ns: int
    last_ns: int

    def __str__(self) -> str:
        return f"{self.first_ns / _NS_PER_S:.2f}..{self.last_ns / _NS_PER_S:.2f} s"


def span_of(stamps_ns: Iterable[int]) -> Span | None:
    """None without a stamp."""
    stamps = list(stamps_ns)
    return Span(min(stamps), max(stamps)) if stamps else None


_SHIFT_GAZE = "shift gaze with --gaze-offset-ms (see: tracevlm calibrate clock)"


def require_overlap(
    gaze: Span | None, other: Span | None, name: str = "frames", remedy: str = _SHIFT_GAZE
) -> None:
    """Raise InputError when both are there and no moment is in both."""
    if gaze is None or other is None:
        return
    if gaze.last_ns < other.first_ns or gaze.first_ns > other.last_ns:
        raise InputError(
            f"gaze covers {gaze}, {name} {other}: they never overlap; stamp both by one clock, or "
            f"{remedy}"
        )


class SpanWatch:
    """Notes the stamps of the samples that pass. ``gaze_offset_ns`` is added to gaze without a pen,
    as the pipeline does."""

    def __init__(self, gaze_offset_ns: int = 0) -> None:
        self._offset_ns = gaze_offset_ns
        self._frames: Span | None = None
        self._gaze: Span | None = None

    def passing(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """``samples`` as they come."""
        for sample in samples:
            if isinstance(sample, Frame):
                self._frames = _wider(self._frames, sample.stamp_ns)
            elif isinstance(sample, GazeSample):
                has_pen = sample.pen != PenState.UNKNOWN
                offset_ns = 0 if has_pen else self._offset_ns
                self._gaze = _wider(self._gaze, sample.stamp_ns + offset_ns)
            yield sample

    def require_overlap(self, remedy: str = _SHIFT_GAZE) -> None:
        """Raise InputError when gaze and frames that passed never overlap."""
        require_overlap(self._gaze, self._frames, remedy=remedy)


def _wider(span: Span | None, stamp_ns: int) -> Span:
    if span is None:
        return Span(stamp_ns, stamp_ns)
    return Span(min(span.first_ns, stamp_ns), max(span.last_ns, stamp_ns))
