"""From mask logits of several traces to one label image in the camera's pixels."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.fovea import Window
from tracevlm_ros.core.types import Frame, Masks

LABELS = 65_535


def label_of(trace_id: int) -> int:
    """The pixel value of a trace: its id, wrapped so that 0 stays 'none' in 16 bits."""
    return (trace_id - 1) % LABELS + 1


class _Part(NamedTuple):
    """The part of a mask that can be above 0: cells of the logits, and the pixels they cover."""

    cells: tuple[slice, slice]
    pixels: tuple[slice, slice]
    size_wh: tuple[int, int]


class _Scaled(NamedTuple):
    """Logits at the frame's size; outside ``pixels`` (rows, columns) none is above 0."""

    pixels: tuple[slice, slice]
    logit: NDArray[np.float32]

    def highest(self, earlier: "Sequence[_Scaled]") -> NDArray[np.bool_]:
        """Where this logit is above 0 and above those of ``earlier`` masks."""
        above = self.logit > 0
        for other in earlier:
            shared = _shared(self.pixels, other.pixels)
            if shared is not None:
                mine, theirs = _within(shared, self.pixels), _within(shared, other.pixels)
                above[mine] &= self.logit[mine] > other.logit[theirs]
        return above


def _shared(one: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[slice, slice] | None:
    """Rows and columns that two parts have in common."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    has_any = rows.start < rows.stop and columns.start < columns.stop
    return (rows, columns) if has_any else None


def _within(part: tuple[slice, slice], whole: tuple[slice, slice]) -> tuple[slice, slice]:
    """``part`` counted from the first row and column of ``whole``."""
    rows, columns = (
        slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True)
    )
    return rows, columns


def compose(
    frame: Frame,
    trace_ids: Sequence[int],
    logits: Sequence[NDArray[np.float32] | None],
    window: Window | None = None,
) -> Masks:
    """Each pixel goes to the trace with the highest logit above 0, of equal ones to the first.

    ``logits[i]`` float32 (h, w), any size, covers ``window``, outside of which there is no mask, or
    the whole frame; None: no mask yet. Between the centres of its cells a logit is interpolated
    linearly.
    """
    image = np.zeros(frame.image_rgb.shape[:2], dtype=np.uint16)
    labels = image if window is None else window.cut(image)
    height, width = labels.shape
    shown = [(i, logit) for i, logit in zip(trace_ids, logits, strict=True) if logit is not None]
    earlier: list[_Scaled] = []
    for trace_id, logit in shown:
        part = _part_above_zero(logit, (height, width))
        if part is None:
            continue
        fine = cv2.resize(logit[part.cells], part.size_wh, interpolation=cv2.INTER_LINEAR)
        scaled = _Scaled(part.pixels, np.asarray(fine, dtype=np.float32))
        np.copyto(labels[part.pixels], label_of(trace_id), where=scaled.highest(earlier))
        earlier.append(scaled)
    return Masks(frame.stamp_ns, frame.frame_id, image, tuple(i for i, _ in shown))


def _part_above_zero(logit: NDArray[np.float32], size_hw: tuple[int, int]) -> _Part | None:
    """None where no logit is above 0. Most masks are small: only their part is scaled up."""
    above = logit > 0
    spans = [
        _span(np.any(above, axis=1 - axis), cells, pixels)
        for axis, (cells, pixels) in enumerate(zip(logit.shape, size_hw, strict=True))
    ]
    if spans[0] is None or spans[1] is None:
        return None
    (rows, tall), (columns, wide) = spans[0], spans[1]
    return _Part((rows, columns), (tall, wide), (wide.stop - wide.start, tall.stop - tall.start))


def _span(above: Any, cells: int, pixels: int) -> tuple[slice, slice] | None:
    """Cells that are ``above`` (bool) with two more at each side, and their pixels, on one axis.

    The scaled part equals that part of the scaled whole, except beyond the outermost centres; there
    the whole is not above 0 either. Its ends fall on the border between two pixels.
    """
    found = np.flatnonzero(above)
    if not len(found):
        return None
    step = cells // math.gcd(cells, pixels)
    first = max(0, int(found[0]) - 2) // step * step
    last = min(cells, -(-(int(found[-1]) + 3) // step) * step)
    return slice(first, last), slice(first * pixels // cells, last * pixels // cells)
