"""What one frame gave, whether it was replayed just now or recorded from a live graph."""

from collections.abc import Iterable
from typing import NamedTuple

from tracevlm_ros.core.types import Caption, Frame, Masks, TraceSnapshot


class SpokenCaption(NamedTuple):
    """A caption and the node's clock when it was made; 0 where nobody measured (offline)."""

    caption: Caption
    received_ns: int = 0
    inferred_ns: int = 0
    published_ns: int = 0

    @property
    def visible_ns(self) -> int:
        """When a viewer could read it, on the clock of the frames (live under ``/clock``)."""
        return max(self.caption.stamp_ns, self.published_ns)


class FrameOutcome(NamedTuple):
    """``captions`` are those that describe this frame, partial texts included, in order.

    ``masks`` is None where the frame was dropped before it got any. ``step_ms`` is the wall time of
    the fast path and ``describe_ms`` of the slow path, None where it was not measured.
    """

    frame: Frame
    masks: Masks | None
    traces: tuple[TraceSnapshot, ...]
    captions: tuple[SpokenCaption, ...]
    step_ms: float | None = None
    describe_ms: float | None = None


class CaptionBoard:
    """The text that stands beside each trace at a moment: the newest visible answer."""

    def __init__(self) -> None:
        self._coming: list[SpokenCaption] = []
        self._texts: dict[int, str] = {}

    def add(self, captions: Iterable[SpokenCaption]) -> None:
        self._coming += [spoken for spoken in captions if not spoken.caption.question]

    def texts_at(self, stamp_ns: int, trace_ids: Iterable[int]) -> dict[int, str]:
        """Texts of ``trace_ids`` at a frame; call with rising stamps."""
        due = [spoken for spoken in self._coming if spoken.visible_ns <= stamp_ns]
        self._coming = [spoken for spoken in self._coming if spoken.visible_ns > stamp_ns]
        for spoken in sorted(due, key=lambda one: one.visible_ns):
            self._texts[spoken.caption.trace_id] = spoken.caption.text
        wanted = set(trace_ids)
        return {key: text for key, text in self._texts.items() if key in wanted}

    def last_texts(self) -> dict[int, str]:
        """The last text of every trace, also where no frame came after it."""
        texts = dict(self._texts)
        for spoken in sorted(self._coming, key=lambda one: one.visible_ns):
            texts[spoken.caption.trace_id] = spoken.caption.text
        return texts


def shown_trace_ids(outcome: FrameOutcome) -> set[int]:
    """Traces that have a line or a mask in this frame."""
    with_mask = set() if outcome.masks is None else set(outcome.masks.trace_ids)
    return with_mask | {trace.trace_id for trace in outcome.traces}
