"""What is kept of an evaluated recording: small values from which every figure is made."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.evaluation.metrics.masks import Overlap


class MaskSample(NamedTuple):
    """One object on one frame. ``since_s`` is the time since its trace's first mask."""

    label: int
    stamp_ns: int
    trace_ids: tuple[int, ...]
    overlap: Overlap
    boundary_f: float
    since_s: float


class CaptionSample(NamedTuple):
    """One visit: what was said last about its trace ("" when nothing), and the references."""

    label: int
    trace_id: int | None
    text: str
    references: tuple[str, ...]
    score: float


@dataclass(slots=True)
class Samples:
    """Of one recording, or of several poured together (``pour``).

    ``truth_masks`` were there, ``frames_with_truth`` have the stamp of one. ``visits`` are those
    that the frames reached, ``visits_not_reached`` the rest: they are not scored.
    """

    frames: int = 0
    frames_with_masks: int = 0
    truth_masks: int = 0
    frames_with_truth: int = 0
    traces: int = 0
    traces_without_object: int = 0
    visits: int = 0
    visits_not_reached: int = 0
    visits_described: int = 0
    masks: list[MaskSample] = field(default_factory=list)
    captions: list[CaptionSample] = field(default_factory=list)
    points_in_mask: int = 0
    points: int = 0
    first_mask_ms: list[float] = field(default_factory=list)
    first_caption_ms: list[float] = field(default_factory=list)
    caption_latency_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    describe_ms: list[float] = field(default_factory=list)
    flickers: list[float] = field(default_factory=list)
    gap_shares: list[float] = field(default_factory=list)
    drops: Drops = field(default_factory=Drops)

    def pour(self, other: "Samples") -> None:
        """Add what ``other`` holds to this."""
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Drops):
                mine.update(theirs)
            else:
                setattr(self, name, mine + theirs)
