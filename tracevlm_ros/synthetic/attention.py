"""Acts of attention on a mask: strokes as people scribble them, and gaze that rests on it.

Both return float64 (N, 3): x and y in pixels (origin at the centre of the top-left pixel), t in
seconds from 0, evenly spaced. Strokes were modelled on the hand-made ones of the development
data: at the median 37 points at 60 Hz that run 1.9 times the square root of the object's area.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray

STYLES = ("waypoints", "zigzag", "contour", "loop", "point_and_circle")
_STYLE_WEIGHTS = (0.5, 0.15, 0.1, 0.15, 0.1)
_FIXATION_S = (0.15, 0.45)
_SACCADE_S = (0.025, 0.045)


class _Region(NamedTuple):
    """The mask cut to its bounding box; ``depth`` (h, w) is the distance to the edge in pixels."""

    mask: NDArray[np.uint8]
    depth: NDArray[np.float32]
    offset_xy: tuple[int, int]
    scale_px: float
    size_hw: tuple[int, int]


def scribble(
    mask: NDArray[np.uint8] | NDArray[np.bool_],
    rng: np.random.Generator,
    rate_hz: float = 60.0,
    style: str | None = None,
) -> FloatArray:
    """A stroke drawn over the object ``mask`` (H, W, nonzero inside), of 0.35 to 4 seconds.

    Loops and contours may leave the object by about a tenth of its size; jitter does so anywhere.
    ``style`` is one of STYLES, drawn when None. Raises InputError for an empty mask.
    """
    region = _region(mask)
    chosen = style or STYLES[int(rng.choice(len(STYLES), p=_STYLE_WEIGHTS))]
    path = _PATHS[chosen](region, rng)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    length = float(steps.sum())
    share = length / region.scale_px
    duration = float(np.clip((0.28 + 0.18 * share) * rng.uniform(0.75, 1.35), 0.35, 4.0))
    count = max(8, round(duration * rate_hz))
    progress = _uneven_progress(count, rng)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    xy = np.stack([np.interp(progress * length, travelled, path[:, axis]) for axis in (0, 1)], 1)
    xy += _jitter(count, rng, _jitter_px(region, rng))
    return _with_time(xy, region, rate_hz)


def dwell(
    mask: NDArray[np.uint8] | NDArray[np.bool_],
    rng: np.random.Generator,
    rate_hz: float = 120.0,
) -> FloatArray:
    """Gaze that rests on the object: 1 to 4 fixations of 150 to 450 ms, quick jumps between.

    Raises InputError for an empty mask.
    """
    region = _region(mask)
    parts: list[FloatArray] = []
    place = _interior_points(region, rng, 1)[0]
    for _ in range(int(rng.integers(1, 5))):
        count = max(4, round(rng.uniform(*_FIXATION_S) * rate_hz))
        drift = np.cumsum(rng.normal(0.0, 0.0015 * region.scale_px, (count, 2)), axis=0)
        parts.append(place + drift)
        target = _interior_points(region, rng, 1)[0]
        jump = max(2, round(rng.uniform(*_SACCADE_S) * rate_hz))
        parts.append(place + minimum_jerk(np.linspace(0, 1, jump))[:, None] * (target - place))
        place = target
    xy = np.concatenate(parts[:-1])
    xy = xy + rng.normal(0.0, rng.uniform(0.002, 0.012) * min(region.size_hw), xy.shape)
    return _with_time(xy, region, rate_hz)


def minimum_jerk(s: FloatArray) -> FloatArray:
    """The smoothest way from 0 to 1 (Flash and Hogan 1985): 10 s^3 - 15 s^4 + 6 s^5."""
    return np.asarray(s**3 * (10.0 + s * (6.0 * s - 15.0)))


def _region(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> _Region:
    whole = np.ascontiguousarray(mask).view(np.uint8)
    x, y, width, height = cv2.boundingRect(whole)
    if width == 0 or height == 0:
        raise InputError(f"the mask {mask.shape} is empty; attention needs a visible object")
    cut = (whole[y : y + height, x : x + width] != 0).astype(np.uint8)
    padded = cv2.copyMakeBorder(cut, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    scale = float(np.sqrt(cv2.countNonZero(cut)))
    size = (int(mask.shape[0]), int(mask.shape[1]))
    return _Region(cut, np.asarray(depth, np.float32), (x, y), scale, size)


def _interior_points(region: _Region, rng: np.random.Generator, count: int) -> FloatArray:
    """``count`` points at least 0 to 60% of the greatest depth inside the object."""
    least = rng.uniform(0.0, 0.6) * float(region.depth.max())
    inside = np.flatnonzero(region.depth >= max(least, 0.5))
    chosen = inside[rng.integers(len(inside), size=count)]
    y, x = np.divmod(chosen, region.mask.shape[1])
    return np.stack([x + region.offset_xy[0], y + region.offset_xy[1]], axis=1).astype(np.float64)


def _axes(region: _Region) -> tuple[FloatArray, FloatArray]:
    """Centre (2,) and the columns of (2, 2): half axes of the ellipse with the same moments."""
    moments = cv2.moments(region.mask, binaryImage=True)
    area = moments["m00"]
    centre = np.array([moments["m10"], moments["m01"]]) / area + region.offset_xy
    xx, yy, xy = (moments[key] / area + 0.1 * (key != "mu11") for key in ("mu20", "mu02", "mu11"))
    values, vectors = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    return centre, vectors * (2.0 * np.sqrt(values))


def _waypoint_path(region: _Region, rng: np.random.Generator) -> FloatArray:
    points = _interior_points(region, rng, int(rng.integers(2, 6)))
    return _rounded(points, rng.uniform(0.0, 0.25))


def _zigzag_path(region: _Region, rng: np.random.Generator) -> FloatArray:
    centre, axes = _axes(region)
    turns = int(rng.integers(3, 8))
    along = np.linspace(-0.8, 0.8, turns + 1)
    across = np.where(np.arange(turns + 1) % 2 == 0, -1.0, 1.0) * rng.uniform(0.45, 0.85)
    across = across * np.sqrt(np.clip(1.0 - (0.9 * along) ** 2, 0.0, 1.0))
    local = np.stack([across, along], axis=1) * rng.uniform(0.6, 1.0)
    local += rng.normal(0.0, 0.06, local.shape)
    if rng.random() < 0.5:
        local = local[:, ::-1]
    return _rounded(local @ axes.T + centre, 0.15)


def _contour_path(region: _Region, rng: np.random.Generator) -> FloatArray:
    contours, _ = cv2.findContours(region.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)[:, 0, :].astype(np.float64)
    if len(longest) < 8:
        return _loop_path(region, rng)
    longest = np.roll(longest, int(rng.integers(len(longest))), axis=0)
    centre = longest.mean(axis=0)
    path = centre + (longest - centre) * rng.uniform(0.65, 1.08)
    path = path[: max(8, int(len(path) * rng.uniform(0.6, 1.0)))]
    width = max(1, len(path) // 12)
    kernel = np.ones(width) / width
    padded = np.pad(path, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)
    path = smooth + np.array(region.offset_xy)
    return np.asarray(path if rng.random() < 0.5 else path[::-1])


def _loop_path(region: _Region, rng: np.random.Generator) -> FloatArray:
    centre, axes = _axes(region)
    turns = rng.uniform(0.8, 2.2)
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi * turns, 64) * rng.choice([-1, 1])
    radius = rng.uniform(0.45, 1.1) * (1.0 + np.linspace(0, rng.uniform(-0.3, 0.15), 64))
    local = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
    return np.asarray(local @ axes.T + centre)


def _point_and_circle_path(region: _Region, rng: np.random.Generator) -> FloatArray:
    """Rest at a point, then circle about it; the rest is a tiny wander, so that it takes time."""
    point = _interior_points(region, rng, 1)[0]
    rest = point + rng.normal(0.0, 0.02 * region.scale_px, (12, 2))
    radius = rng.uniform(0.12, 0.35) * region.scale_px
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi * rng.uniform(0.9, 2.0), 40)
    circle = point + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([rest, circle])


def _rounded(points: FloatArray, roundness: float) -> FloatArray:
    """The polyline with its corners cut, ``roundness`` (0..0.25) of each side, twice (Chaikin)."""
    for _ in range(2):
        if roundness < 0.02 or len(points) < 3:
            return points
        one = points[:-1] + roundness * np.diff(points, axis=0)
        two = points[1:] - roundness * np.diff(points, axis=0)
        between = np.stack([one, two], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], between[1:-1], points[-1:]])
    return points


def _uneven_progress(count: int, rng: np.random.Generator) -> FloatArray:
    """Progress 0..1 of a hand: slow at both ends and at drawn places between."""
    s = np.linspace(0.0, 1.0, count)
    speed = 0.15 + np.sin(np.pi * s) ** 0.7
    for _ in range(int(rng.integers(0, 3))):
        slow = np.exp(-(((s - rng.uniform(0.15, 0.85)) / 0.07) ** 2))
        speed *= 1.0 - rng.uniform(0.5, 0.95) * slow
    travelled = np.concatenate([[0.0], np.cumsum(speed[:-1])])
    return np.asarray(travelled / travelled[-1])


def _jitter_px(region: _Region, rng: np.random.Generator) -> float:
    return float(rng.uniform(0.0005, 0.004) * min(region.size_hw) + 0.01 * region.scale_px)


def _jitter(count: int, rng: np.random.Generator, sigma_px: float) -> FloatArray:
    """White noise, and a slower tremor of about the same strength."""
    white = rng.normal(0.0, sigma_px, (count, 2))
    knots = rng.normal(0.0, sigma_px, (max(2, count // 6), 2))
    at = np.linspace(0, len(knots) - 1, count)
    slow = np.stack([np.interp(at, np.arange(len(knots)), knots[:, axis]) for axis in (0, 1)], 1)
    return np.asarray(white + slow)


def _with_time(xy: FloatArray, region: _Region, rate_hz: float) -> FloatArray:
    """Keep the points inside the image, as a pointer would, and add the time column."""
    height, width = region.size_hw
    limits = np.array([width - 1.0, height - 1.0])
    t = np.arange(len(xy)) / rate_hz
    return np.concatenate([np.clip(xy, 0.0, limits), t[:, None]], axis=1)


_PATHS = {
    "waypoints": _waypoint_path,
    "zigzag": _zigzag_path,
    "contour": _contour_path,
    "loop": _loop_path,
    "point_and_circle": _point_and_circle_path,
}
