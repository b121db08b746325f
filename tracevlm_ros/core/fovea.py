"""The part of a frame that the model looks at: where the traces are, with what is round them.

A model reads a picture at its own fixed size. A thing of 100 pixels in a frame of 1920 is 13 pixels
wide then; cut out of the frame first, it is large. Words are asked of the whole frame, whose
context and sizes they tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.settings import require_settings, setting
from tracevlm_ros.core.types import BoolArray, FloatArray, Keypoints

Field = NDArray[np.float32]
Pixel = TypeVar("Pixel", bound=np.generic)

_STEP = 2**0.5
_PLACES = 8
"""Sides come in steps and places on a grid of a part of the side, so that a window stays."""
_SLACK = 1 + 1 / _PLACES
_NEARLY_ALL = 0.8
_ROUND_MASK = 1.5
_GREATEST_ASPECT = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class FoveaConfig:
    """Which part of the frame the model is shown."""

    enabled: bool = setting(
        True,
        "Show the model the part of the frame where the traces are, else all of it.",
        live=True,
    )
    reach: float = setting(3.0, "Side of that part, in extents of a trace.", 1.0, 100.0, live=True)
    least: float = setting(
        0.35,
        "Least side of that part, as a share of the frame's long side: a short look tells little "
        "of how large its object is.",
        0.0,
        1.0,
        live=True,
    )
    magnify: float = setting(
        2.0,
        "How many pixels of the model a pixel of the camera fills at most.",
        0.01,
        16.0,
        live=True,
    )

    def __post_init__(self) -> None:
        require_settings(self, "fovea")

    def box_within(self, mask: BoolArray, window: "Window") -> FloatArray:
        """(2, 2) corners in pixels of the frame; a window round them holds ``mask`` (h, w), any
        size, which covers ``window``, with half of its extent to spare."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        cell = np.array([window.width, window.height]) / mask.shape[::-1]
        corner = (window.x, window.y)
        low = np.array([columns[0], rows[0]]) * cell + corner
        high = np.array([columns[-1] + 1, rows[-1] + 1]) * cell + corner
        half = (high - low) / 2 * _ROUND_MASK / self.reach
        return np.stack([(low + high) / 2 - half, (low + high) / 2 + half])


class Window(NamedTuple):
    """A part of a frame of ``frame_hw``, in whole pixels; it lies inside the frame."""

    x: int
    y: int
    width: int
    height: int
    frame_hw: tuple[int, int]

    @property
    def is_whole(self) -> bool:
        return self.size_hw == self.frame_hw

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.height, self.width

    def cut(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        """This part of an image of the frame's size: a view."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]

    def points(self, xy_px: FloatArray) -> FloatArray:
        """Points (N, 2) in pixels of the frame -> in pixels of the window."""
        return xy_px - (self.x, self.y)

    def shares(self, points: FloatArray) -> FloatArray:
        """Points (N, 2) in 0..1 of the frame -> in 0..1 of the window."""
        if self.is_whole:
            return points
        height, width = self.frame_hw
        return self.points(points * (width, height)) / (self.width, self.height)

    def keypoints(self, keypoints: Keypoints) -> Keypoints:
        """Keypoints in pixels of the frame -> in pixels of the window."""
        return keypoints._replace(xy_px=self.points(keypoints.xy_px))

    def moved(self, field: Field, to: "Window", size_hw: tuple[int, int], outside: float) -> Field:
        """A field over this window, any size -> over ``to`` at ``size_hw``, else ``outside``.

        What it shows keeps its place in the frame.
        """
        if self == to:
            return scaled(field, size_hw)
        box = self._box_of(to, field.shape)
        coarser = _shrunk(field, (size_hw[0] / box.height, size_hw[1] / box.width))
        return _sampled(coarser, self._box_of(to, coarser.shape), size_hw, outside)

    def _box_of(self, other: "Window", size_hw: Sequence[int]) -> "_Box":
        """``other`` in cells of a field of ``size_hw`` over this window."""
        down, across = size_hw[0] / self.height, size_hw[1] / self.width
        return _Box(
            (other.y - self.y) * down, (other.x - self.x) * across,
            other.height * down, other.width * across,
        )  # fmt: skip


class _Box(NamedTuple):
    """In cells of a field, edges at whole numbers."""

    y: float
    x: float
    height: float
    width: float


def whole(frame_hw: tuple[int, int]) -> Window:
    """All of a frame."""
    return Window(0, 0, frame_hw[1], frame_hw[0], frame_hw)


def window_of(
    traces_px: Sequence[FloatArray],
    frame_hw: tuple[int, int],
    model_hw: tuple[int, int],
    config: FoveaConfig,
) -> Window:
    """The part of a frame that holds every trace (K, 2) with ``reach`` round it.

    The same traces give the same window, and small motions mostly leave it where it is. All of the
    frame where that is little more, or where nothing is in the frame.
    """
    everything = whole(frame_hw)
    if not config.enabled:
        return everything
    height, width = frame_hw
    least = max(config.least * max(frame_hw), max(model_hw) / config.magnify)
    boxes = [_surroundings(points, config.reach, least) for points in traces_px]
    boxes = [box for box in boxes if np.isfinite(box).all()]
    if not boxes:
        return everything
    low, high = np.min([box[0] for box in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
    low, high = np.maximum(low, 0.0), np.minimum(high, (width, height))
    if (high <= low).any():
        return everything
    sides = high - low
    sides = np.maximum(sides, sides.max() / _GREATEST_ASPECT)
    frame_wh = np.array([width, height], np.float64)
    place, sides = _held((low + high) / 2, sides, least, frame_wh)
    if (sides >= _NEARLY_ALL * frame_wh).all():
        return everything
    return Window(int(place[0]), int(place[1]), int(sides[0]), int(sides[1]), frame_hw)


def _surroundings(points: FloatArray, reach: float, least: float) -> FloatArray:
    """(2, 2) low and high corner of the square round the middle of ``points``."""
    if not len(points):
        return np.full((2, 2), np.nan)
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(reach * float((high - low).max()), least / _SLACK) / 2
    middle = (low + high) / 2
    return np.stack([middle - half, middle + half])


def _held(
    middle: FloatArray, sides: FloatArray, least: float, frame_wh: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Place and sides in steps, inside the frame."""
    steps = np.ceil(np.log(np.maximum(_SLACK * sides / least, 1.0)) / np.log(_STEP) - 1e-6)
    sides = np.minimum(np.rint(least * _STEP**steps), frame_wh)
    grid = np.maximum(np.rint(sides / _PLACES), 1.0)
    place = np.rint((middle - sides / 2) / grid) * grid
    return np.clip(place, 0.0, frame_wh - sides), sides


def scaled(field: Field, size_hw: tuple[int, int]) -> Field:
    """``field`` (h, w) at ``size_hw``; the same object where it has that size."""
    if field.shape == size_hw:
        return field
    shrinks = size_hw[0] < field.shape[0] and size_hw[1] < field.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, size_hw[::-1], interpolation=method), np.float32)


def _shrunk(field: Field, ratio_hw: tuple[float, float]) -> Field:
    """``field`` at ``ratio_hw`` of its size where that is smaller, so that nothing is skipped."""
    size_hw = tuple(
        max(1, round(size * ratio)) if ratio < 1 else size
        for size, ratio in zip(field.shape, ratio_hw, strict=True)
    )
    return scaled(field, (size_hw[0], size_hw[1]))


def _sampled(field: Field, box: _Box, size_hw: tuple[int, int], outside: float) -> Field:
    """``box`` of ``field`` at ``size_hw``, linear between the centres of cells."""
    down, across = box.height / size_hw[0], box.width / size_hw[1]
    places = np.array(
        [[across, 0, box.x + across / 2 - 0.5], [0, down, box.y + down / 2 - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = np.asarray(
        cv2.warpAffine(field, places, size_hw[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )
    row = box.y + (np.arange(size_hw[0]) + 0.5) * down
    column = box.x + (np.arange(size_hw[1]) + 0.5) * across
    found[(row < 0) | (row > field.shape[0])] = outside
    found[:, (column < 0) | (column > field.shape[1])] = outside
    return found
