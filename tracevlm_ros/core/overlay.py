"""One picture that tells what the pipeline saw: masks, traces and captions over the frame.

The node (``overlay/compressed``), the replay video and the report draw with this one function.
Every measure scales with the picture, so a thumbnail and a 4K frame read alike.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.label_image import label_of
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, Masks, TraceSnapshot

Colour = tuple[int, int, int]

# Twelve hues of similar lightness, ordered so that neighbours in id are far apart in hue
# (after Sasha Trubetskoy's list of distinct colours, brightened for dark footage).
PALETTE: tuple[Colour, ...] = (
    (255, 176, 0),
    (58, 160, 255),
    (255, 84, 112),
    (46, 213, 115),
    (190, 120, 255),
    (0, 210, 211),
    (255, 128, 40),
    (160, 220, 50),
    (255, 105, 200),
    (110, 130, 255),
    (240, 225, 70),
    (80, 230, 170),
)
_TINT = 0.38
_INK: Colour = (16, 18, 24)
_PAPER: Colour = (250, 250, 250)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_FONT_IS_UNICODE = int(cv2.__version__.split(".", maxsplit=1)[0]) >= 5
_MAX_LINES = 4


class _Box(NamedTuple):
    """Half-open pixel box ``[x0, x1) x [y0, y1)``."""

    x0: int
    y0: int
    x1: int
    y1: int

    def overlap(self, other: "_Box") -> int:
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0, width) * max(0, height)


class _Plate(NamedTuple):
    """A caption laid out in lines, before it has a place."""

    lines: list[str]
    width: int
    height: int
    line_height: int
    padding: int
    font_scale: float


def colour_of(trace_id: int) -> Colour:
    """The RGB colour of a trace: a function of its id alone, so it never changes."""
    return PALETTE[(trace_id - 1) % len(PALETTE)]


def draw_overlay(
    frame_rgb: Image,
    masks: Masks | None,
    traces: Sequence[TraceSnapshot],
    captions: Mapping[int, str],
) -> Image:
    """Draw masks, traces and captions over a copy of ``frame_rgb`` (uint8 (H, W, 3), untouched).

    ``captions`` maps trace ids to text. A caption stands beside its mask, else beside its
    keypoints, else at the bottom left, and always inside the picture; it avoids the regions and the
    captions drawn before it where there is room. Strokes are not joined over a lifted pen, and
    points that were lost (see Keypoints) are hollow and join nothing.

    Raises InputError when the masks are not of the frame's size.
    """
    size = frame_rgb.shape[:2]
    if masks is not None and masks.labels.shape != size:
        raise InputError(
            f"masks are {masks.labels.shape} but the frame is {size}; "
            "draw masks on the frame that they were made for"
        )
    picture = np.ascontiguousarray(frame_rgb).copy()
    scale = max(0.4, max(size) / 640.0)
    regions = {} if masks is None else _draw_masks(picture, masks, scale)
    for trace in traces:
        _draw_trace(picture, trace, scale)
        box = _points_box(trace, size)
        if box is not None:
            regions.setdefault(trace.trace_id, box)
    _draw_captions(picture, captions, regions, scale)
    return picture


def _draw_masks(picture: Image, masks: Masks, scale: float) -> dict[int, _Box]:
    """Tint and outline each mask in place; returns the box of each mask that has pixels."""
    regions: dict[int, _Box] = {}
    for trace_id in masks.trace_ids:
        mask = masks.labels == label_of(trace_id)
        box = _mask_box(mask)
        if box is None:
            continue
        regions[trace_id] = box
        colour = colour_of(trace_id)
        part = mask[box.y0 : box.y1, box.x0 : box.x1]
        view = picture[box.y0 : box.y1, box.x0 : box.x1]
        tinted = (1.0 - _TINT) * view[part] + _TINT * np.asarray(colour, dtype=np.float32)
        view[part] = tinted.astype(np.uint8)
        contours, _ = cv2.findContours(
            part.astype(np.uint8),
            cv2.RETR_CCOMP,
            cv2.CHAIN_APPROX_SIMPLE,
            offset=(box.x0, box.y0),
        )
        width = max(1, round(1.6 * scale))
        cv2.drawContours(picture, contours, -1, _INK, width + max(1, round(scale)), cv2.LINE_AA)
        cv2.drawContours(picture, contours, -1, colour, width, cv2.LINE_AA)
    return regions


def _mask_box(mask: BoolArray) -> _Box | None:
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return _Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _points_box(trace: TraceSnapshot, size: tuple[int, int]) -> _Box | None:
    points = trace.keypoints.xy_px[_drawable_points(trace)]
    if len(points) == 0:
        return None
    low = np.clip(np.floor(points.min(axis=0)), 0, (size[1] - 1, size[0] - 1)).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), 0, (size[1] - 1, size[0] - 1)).astype(int)
    return _Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)


def _drawable_points(trace: TraceSnapshot) -> BoolArray:
    """Finite, and near enough to the picture for OpenCV's fixed-point coordinates."""
    points = trace.keypoints.xy_px
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(points) < 2**14).all(axis=1))


def _draw_trace(picture: Image, trace: TraceSnapshot, scale: float) -> None:
    points, colour = trace.keypoints, colour_of(trace.trace_id)
    drawable = _drawable_points(trace)
    kept = drawable & ~points.lost
    joined = kept[1:] & kept[:-1] & ~points.pen_up[1:]
    width = max(1, round(2.0 * scale))
    casing = width + max(1, round(1.6 * scale))
    for line_colour, line_width in ((_INK, casing), (colour, width)):
        for index in np.flatnonzero(joined):
            first, second = points.xy_px[index], points.xy_px[index + 1]
            cv2.line(picture, _pixel(first), _pixel(second), line_colour, line_width, cv2.LINE_AA)
    radius = max(1, round(2.6 * scale))
    for index in np.flatnonzero(drawable):
        centre = _pixel(points.xy_px[index])
        if points.lost[index]:
            cv2.circle(picture, centre, radius, colour, max(1, round(0.7 * scale)), cv2.LINE_AA)
        else:
            _draw_dot(picture, centre, radius, colour, scale)
    if trace.is_open and kept.any():
        newest = _pixel(points.xy_px[np.flatnonzero(kept)[-1]])
        _draw_ring(picture, newest, round(7 * scale), colour, scale)


def _pixel(point: FloatArray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _draw_dot(
    picture: Image, centre: tuple[int, int], radius: int, colour: Colour, scale: float
) -> None:
    cv2.circle(picture, centre, radius + max(1, round(0.8 * scale)), _INK, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, radius, _PAPER, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, max(1, radius - max(1, round(scale))), colour, -1, cv2.LINE_AA)


def _draw_ring(
    picture: Image, centre: tuple[int, int], radius: int, colour: Colour, scale: float
) -> None:
    width = max(1, round(1.4 * scale))
    cv2.circle(picture, centre, radius, _INK, width + max(1, round(scale)), cv2.LINE_AA)
    cv2.circle(picture, centre, radius, colour, width, cv2.LINE_AA)


def _draw_captions(
    picture: Image, captions: Mapping[int, str], regions: Mapping[int, _Box], scale: float
) -> None:
    taken = {trace_id: [box] for trace_id, box in regions.items() if trace_id in captions}
    placed: list[_Box] = []
    for trace_id in sorted(captions):
        plate = _lay_out(captions[trace_id], picture.shape[:2], scale)
        if plate is None:
            continue
        others = [box for key, boxes in taken.items() if key != trace_id for box in boxes]
        box = _place(plate, regions.get(trace_id), placed, others, picture.shape[:2], scale)
        placed.append(box)
        _draw_plate(picture, plate, box, colour_of(trace_id))


def _lay_out(text: str, size: tuple[int, int], scale: float) -> _Plate | None:
    """Break ``text`` into lines that fit; None for blank text. Long text ends in dots."""
    words = " ".join(text.split())
    if not _FONT_IS_UNICODE:
        words = words.encode("ascii", "replace").decode("ascii")
    if not words:
        return None
    font_scale = max(0.32, 0.46 * scale)
    padding = max(2, round(5 * scale))
    room = min(round(290 * scale), size[1]) - 3 * padding
    lines = _wrap(words.split(" "), max(room, 8), font_scale)
    line_height = round(_text_width_height("Agjy", font_scale)[1] * 1.65)
    width = max(_text_width_height(line, font_scale)[0] for line in lines) + 3 * padding
    height = len(lines) * line_height + padding
    return _Plate(
        lines, min(width, size[1]), min(height, size[0]), line_height, padding, font_scale
    )


def _wrap(words: list[str], room: int, font_scale: float) -> list[str]:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or _text_width_height(longer, font_scale)[0] <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1] + " ..."]
    return [_shorten(line, room, font_scale) for line in lines]


def _shorten(line: str, room: int, font_scale: float) -> str:
    if _text_width_height(line, font_scale)[0] <= room:
        return line
    while len(line) > 1 and _text_width_height(line + "...", font_scale)[0] > room:
        line = line[:-1]
    return line + "..."


def _text_width_height(text: str, font_scale: float) -> tuple[int, int]:
    (width, height), _ = cv2.getTextSize(text, _FONT, font_scale, 1)
    return int(width), int(height)


def _place(
    plate: _Plate,
    region: _Box | None,
    plates: Sequence[_Box],
    regions: Sequence[_Box],
    size: tuple[int, int],
    scale: float,
) -> _Box:
    """Of the places around ``region``, the first with the least overlap; inside the picture."""
    height, width = size
    gap = round(6 * scale)
    if region is None:
        corners = [(gap, height - gap - plate.height), (gap, gap)]
        corners += [(gap, box.y0 - gap - plate.height) for box in plates]
    else:
        middle_x = (region.x0 + region.x1 - plate.width) // 2
        middle_y = (region.y0 + region.y1 - plate.height) // 2
        corners = [
            (middle_x, region.y0 - gap - plate.height),
            (middle_x, region.y1 + gap),
            (region.x1 + gap, middle_y),
            (region.x0 - gap - plate.width, middle_y),
            (region.x0, region.y0),
        ]
    own = [] if region is None else [region]
    best: tuple[int, _Box] | None = None
    for x, y in corners:
        x0 = min(max(x, 0), width - plate.width)
        y0 = min(max(y, 0), height - plate.height)
        box = _Box(x0, y0, x0 + plate.width, y0 + plate.height)
        with_gap = _Box(x0 - gap // 2, y0 - gap // 2, box.x1 + gap // 2, box.y1 + gap // 2)
        cost = 8 * sum(map(with_gap.overlap, plates)) + sum(map(box.overlap, [*regions, *own]))
        if best is None or cost < best[0]:
            best = (cost, box)
    assert best is not None
    return best[1]


def _draw_plate(picture: Image, plate: _Plate, box: _Box, colour: Colour) -> None:
    view = picture[box.y0 : box.y1, box.x0 : box.x1]
    view[:] = (0.2 * view + 0.8 * np.asarray(_INK, dtype=np.float32)).astype(np.uint8)
    view[:, : max(1, plate.padding // 2)] = colour
    baseline = box.y0 + round(0.5 * plate.padding + 0.78 * plate.line_height)
    for index, line in enumerate(plate.lines):
        at = (box.x0 + round(1.5 * plate.padding), baseline + index * plate.line_height)
        cv2.putText(picture, line, at, _FONT, plate.font_scale, _PAPER, 1, cv2.LINE_AA)
