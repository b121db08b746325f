"""What an evaluation found, as JSON and as a line."""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Scores(Protocol):
    def as_mapping(self) -> dict[str, Any]: ...

    def as_line(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskScores:
    """Mean IoU of masks of the same traces.

    ``mask_iou``: with the words, after a format failure 0; ``mask_iou_first``: of the stroke
    alone; ``mask_iou_second``: the stroke and its own first mask; ``mask_iou_closer``: of the
    stroke alone through the fovea's window, as the robot looks, None for scenes, which have no
    finer pixels.
    """

    mask_iou: float
    mask_iou_first: float
    mask_iou_second: float
    mask_iou_closer: float | None = None

    def as_line(self) -> str:
        closer = "" if self.mask_iou_closer is None else f", closer {self.mask_iou_closer:.3f}"
        return (
            f"mask IoU {self.mask_iou:.3f} (stroke alone {self.mask_iou_first:.3f}, looked at "
            f"again {self.mask_iou_second:.3f}{closer})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticScores:
    """Shares of ``traces`` traces; a format failure counts as wrong and as IoU 0.

    ``order``: the traces as they were drawn, or ``shuffled``.
    """

    traces: int
    order: str
    size: float
    texture: float
    colour: float
    shape: float
    all_attributes: float
    masks: MaskScores
    mask_iou_strokes: float
    mask_iou_gaze: float
    format_failures: float

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "synthetic", **_flat(self)}

    def as_line(self) -> str:
        return (
            f"synthetic ({self.traces} traces, {self.order}): size {self.size:.3f} texture "
            f"{self.texture:.3f} colour {self.colour:.3f} shape {self.shape:.3f} all "
            f"{self.all_attributes:.3f} | {self.masks.as_line()}, strokes "
            f"{self.mask_iou_strokes:.3f}, gaze {self.mask_iou_gaze:.3f} | format failures "
            f"{self.format_failures:.3f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoScores:
    """``per_category``: category -> [named right, strokes]."""

    strokes: int
    order: str
    masks: MaskScores
    category_top1: float
    category_top1_not_person: float
    format_failures: float
    per_category: dict[str, list[int]] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "photos", **_flat(self)}

    def as_line(self) -> str:
        return (
            f"photos ({self.strokes} strokes, {self.order}): {self.masks.as_line()} | category "
            f"top-1 {self.category_top1:.3f} (not persons {self.category_top1_not_person:.3f}) | "
            f"format failures {self.format_failures:.3f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipScores:
    """First frames of clips; ``per_clip``: clip -> IoU with the words."""

    clips: int
    masks: MaskScores
    per_clip: dict[str, float] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "first frames", **_flat(self)}

    def as_line(self) -> str:
        return f"first frames ({self.clips} clips): {self.masks.as_line()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedScores:
    """Traces of ``objects`` objects that a text describes; one without a point is all outside, and
    stands for the whole picture.

    ``points_inside``: mean share of a trace's points on its object, for points drawn at random
    ``object_area``; ``found``: traces with at least half of their points there. ``lbm``: k0 and k1
    -> LBM against a trace over the object, keypoints as boxes without area; ``lbm_trivial``: the
    same of boxes that never look.
    """

    objects: int
    points_inside: float
    object_area: float
    found: float
    lbm: dict[str, float]
    lbm_trivial: dict[str, dict[str, float]]
    format_failures: float
    data: str = "located"

    def as_mapping(self) -> dict[str, Any]:
        return asdict(self)

    def as_line(self) -> str:
        distances = ", ".join(
            f"{k} {value:.3f} ("
            + ", ".join(f"{name} {lbm:.3f}" for name, lbm in self.lbm_trivial[k].items())
            + ")"
            for k, value in self.lbm.items()
        )
        return (
            f"{self.data} ({self.objects} objects): points inside {self.points_inside:.3f} (area "
            f"{self.object_area:.3f}) found {self.found:.3f} | LBM {distances} | format failures "
            f"{self.format_failures:.3f}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionScores:
    """Captions of whole pictures. ``cider_d`` is 0..10; ``distinct``: the share of texts that are
    different ones, small where a model says the same of every picture."""

    pictures: int
    cider_d: float
    distinct: float
    format_failures: float

    def as_mapping(self) -> dict[str, Any]:
        return {"data": "captions", **asdict(self)}

    def as_line(self) -> str:
        return (
            f"captions ({self.pictures} pictures): CIDEr-D {self.cider_d:.3f} distinct "
            f"{self.distinct:.3f} | format failures {self.format_failures:.3f}"
        )


def _flat(scores: Any) -> dict[str, Any]:
    values = asdict(scores)
    return {**values.pop("masks"), **values}
