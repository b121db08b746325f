"""A picture sheet: what a data set shows and says, so that a person can see that it is read right.

Each tile is the first picture of a record with its regions tinted and outlined, raw traces as thin
lines from blue to red in time, keypoints as dots, and what is said below.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import FloatArray, Image
from training.data.readers.alignment import SimplifyConfig, keypoints_of
from training.data.readers.records import Narrative, Record
from training.data.readers.source import Reader
from training.data.trees import spread

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE_PX = 15
_PAPER, _INK, _QUIET = (255, 255, 255), (20, 20, 20), (120, 120, 120)
_MAX_REGIONS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetConfig:
    """``count`` records, evenly spread, in ``columns``; tiles ``tile_px`` wide; ``lines`` of text
    below each picture."""

    count: int = 12
    columns: int = 4
    tile_px: int = 320
    lines: int = 6

    def __post_init__(self) -> None:
        require_range("count", self.count, 1, 400)
        require_range("columns", self.columns, 1, 40)
        require_range("tile_px", self.tile_px, 64, 2048)
        require_range("lines", self.lines, 1, 40)


def sheet(reader: Reader, config: SheetConfig, drops: Drops) -> Image:
    """uint8 RGB. Records that cannot be read are passed over for later ones; damaged pictures are
    counted in ``drops``. InputError when no record can be shown."""
    tiles: list[Image] = []
    for index in _order(len(reader), config.count):
        if len(tiles) == config.count:
            break
        record = reader.read(index)
        if record is None:
            continue
        try:
            tiles.append(tile(record, config))
        except InputError:
            drops["picture_damaged"] += 1
    if not tiles:
        raise InputError(f"no record of {reader.name} can be shown: {dict(+reader.drops)}")
    return _arranged(tiles, config.columns)


def tile(record: Record, config: SheetConfig) -> Image:
    """One record. InputError when its first picture is damaged."""
    image = record.pictures[0].load()
    native_hw = (image.shape[0], image.shape[1])
    width = config.tile_px
    height = max(1, round(width * native_hw[0] / native_hw[1]))
    canvas = fit_image(image, (height, width)).copy()
    for number, region in enumerate(record.regions[:_MAX_REGIONS]):
        for picture, shape in region.shapes:
            if picture == 0:
                _tint(canvas, shape.mask((height, width)), _hue(number / _MAX_REGIONS))
    for narrative in record.narratives:
        _draw_trace(canvas, narrative, native_hw)
    return np.concatenate([canvas, _legend(record, config)], axis=0)


def said(record: Record) -> str:
    """The most telling words of a record."""
    if record.narratives:
        return " / ".join(narrative.text for narrative in record.narratives)
    if record.grounded:
        caption = record.grounded[0]
        phrases = [caption.text[phrase.start : phrase.end] for phrase in caption.phrases]
        return f"{caption.text} [{'; '.join(phrases)}]"
    if record.dialogues:
        turns = record.dialogues[0].turns
        return " ".join(f"Q: {turn.question} A: {turn.answer}" for turn in turns)
    if record.captions:
        return " / ".join(record.captions)
    names = [next(iter(region.expressions), region.category) for region in record.regions]
    return ", ".join(name for name in names if name)


def _order(records: int, count: int) -> list[int]:
    """Evenly spread indices first, then the others."""
    first = spread(records, count) if records else []
    chosen = set(first)
    return [*first, *(index for index in range(records) if index not in chosen)]


def _arranged(tiles: Sequence[Image], columns: int) -> Image:
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = tiles[0].shape[1] * min(columns, len(tiles))
    bands = []
    for row in rows:
        band = np.full((max(item.shape[0] for item in row), width, 3), _PAPER, np.uint8)
        for place, item in enumerate(row):
            left = place * item.shape[1]
            band[: item.shape[0], left : left + item.shape[1]] = item
        bands.append(band)
    return np.concatenate(bands, axis=0)


def _legend(record: Record, config: SheetConfig) -> Image:
    band = np.full(((config.lines + 1) * _LINE_PX + 6, config.tile_px, 3), _PAPER, np.uint8)
    shown = f"{record.key} {record.split}"
    if len(record.pictures) > 1:
        shown += f", 1 of {len(record.pictures)} pictures"
    if len(record.regions) > _MAX_REGIONS:
        shown += f", {_MAX_REGIONS} of {len(record.regions)} regions"
    letters = config.tile_px // 6
    _write(band, 0, shown[-letters:], _QUIET)
    lines = textwrap.wrap(_ascii(said(record)), letters, max_lines=config.lines, placeholder=" ...")
    for number, line in enumerate(lines, 1):
        _write(band, number, line, _INK)
    return band


def _write(band: Image, line: int, text: str, colour: tuple[int, int, int]) -> None:
    place = (4, (line + 1) * _LINE_PX - 3)
    cv2.putText(band, _ascii(text), place, _FONT, 0.4, colour, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """The font knows no other letters."""
    return text.encode("ascii", "replace").decode()


def _tint(canvas: Image, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    canvas[mask] = (0.65 * canvas[mask] + 0.35 * np.array(colour)).astype(np.uint8)
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(canvas, outlines, -1, colour, 1, cv2.LINE_AA)


def _draw_trace(canvas: Image, narrative: Narrative, native_hw: tuple[int, int]) -> None:
    """What was drawn on the first picture."""
    trace = narrative.trace
    keypoints = keypoints_of(narrative, native_hw, SimplifyConfig())
    shares = np.linspace(0.0, 1.0, max(2, len(trace.xy)))
    places = _pixels(canvas, trace.xy)
    for index in range(1, len(places)):
        if trace.picture[index] == 0 and not trace.pen_up[index]:
            one, two = places[index - 1].tolist(), places[index].tolist()
            cv2.line(canvas, one, two, _hue(0.66 * (1 - shares[index])), 1, cv2.LINE_AA)
    for place in _pixels(canvas, keypoints.xy[keypoints.picture == 0]).tolist():
        cv2.circle(canvas, place, 3, _PAPER, -1, cv2.LINE_AA)
        cv2.circle(canvas, place, 3, _INK, 1, cv2.LINE_AA)


def _pixels(canvas: Image, xy: FloatArray) -> np.ndarray:
    height, width = canvas.shape[:2]
    return np.round(np.clip(xy, -1.0, 2.0) * (width, height) - 0.5).astype(int)


def _hue(share: float) -> tuple[int, int, int]:
    """RGB around the colour circle: 0 is red, 2/3 blue."""
    pixel = np.array([[[round(share * 179), 230, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue
