"""The delay between gaze and camera, from motion that both have seen.

When the head turns, the picture moves and, for a wearer who keeps looking at a thing, the gaze
point moves with it; when a target moves, gaze follows. Either way two speed signals share a shape,
and the shift that aligns them best is the offset of the clocks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray, IntArray

_RATE_HZ = 500.0
_MIN_OVERLAP_S = 1.0
_MIN_CORRELATION = 0.3
_SPEED_LIMIT = 4.0
"""Speeds above this multiple of the median are saccades, which the camera does not see."""
_MIN_DRIFT_WINDOWS = 4
NS_PER_S = 1e9


class Motion(NamedTuple):
    """A motion signal: ``stamp_ns`` (N,) rising int64, ``xy_px`` (N, 2) positions in pixels.

    NaN positions are unknown (blinks).
    """

    stamp_ns: IntArray
    xy_px: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockOffset:
    """Add ``offset_ns`` to gaze stamps to bring them to the camera's clock.

    ``drift_ppm``: how much the offset grows, microseconds per second of gaze time, from
    ``start_ns`` on; 0 where the recording is too short to tell. ``correlation`` (0..1) of the two
    signals once aligned; ``windows`` how many stretches agreed.
    """

    offset_ns: int
    drift_ppm: float
    start_ns: int
    correlation: float
    windows: int


def estimate_offset(
    gaze: Motion, camera: Motion, max_offset_ms: float = 500.0, window_s: float = 20.0
) -> ClockOffset:
    """Align the velocity of ``gaze`` with that of ``camera`` (both as seen in the image).

    Each window gives one offset by cross-correlation of both velocity components with sub-sample
    interpolation; a robust line through them gives offset and drift. Raises InputError when the
    recordings never overlap or nothing in them agrees.
    """
    origin_ns = min(int(gaze.stamp_ns[0]), int(camera.stamp_ns[0]))
    gaze_s, gaze_v = _velocity(gaze, origin_ns, "gaze")
    camera_s, camera_v = _velocity(camera, origin_ns, "camera")
    start, stop = max(gaze_s[0], camera_s[0]), min(gaze_s[-1], camera_s[-1])
    if stop - start < _MIN_OVERLAP_S:
        raise InputError(
            f"gaze and camera overlap for {max(0.0, stop - start):.2f} s; at least "
            f"{_MIN_OVERLAP_S:g} s are needed: were they recorded at the same time?"
        )
    found = []
    for begin in _window_starts(start, stop, window_s):
        grid = np.arange(begin, min(begin + window_s, stop), 1 / _RATE_HZ)
        moves = _resample(grid, gaze_s, gaze_v)
        shift_s, score = _best_shift(moves, grid, camera_s, camera_v, max_offset_ms / 1e3)
        if score >= _MIN_CORRELATION:
            found.append((float(grid.mean()), shift_s, score))
    if not found:
        raise InputError(
            f"gaze and camera motion do not agree at any offset within {max_offset_ms:g} ms; turn "
            "the head while looking at one thing, or raise the limit"
        )
    return _line_through(np.array(found), origin_ns)


def _velocity(motion: Motion, origin_ns: int, name: str) -> tuple[FloatArray, FloatArray]:
    """Times (M,) in s since ``origin_ns`` and velocities (M, 2), saccades limited, NaN left out."""
    if len(motion.stamp_ns) < 3 or np.any(np.diff(motion.stamp_ns) <= 0):
        raise InputError(f"{name}: at least 3 samples with rising stamps are needed")
    seconds = (np.asarray(motion.stamp_ns) - origin_ns) / NS_PER_S
    step = np.diff(seconds)
    velocity = np.diff(motion.xy_px, axis=0) / step[:, None]
    known = np.all(np.isfinite(velocity), axis=1)
    if np.count_nonzero(known) < 3:
        raise InputError(f"{name}: fewer than 3 usable samples")
    velocity = velocity[known]
    speed = np.linalg.norm(velocity, axis=1)
    limit = max(_SPEED_LIMIT * float(np.median(speed)), 1e-9)
    slowed = velocity * np.minimum(1.0, limit / np.maximum(speed, 1e-9))[:, None]
    return (seconds[:-1] + step / 2)[known], slowed


def _window_starts(start: float, stop: float, window_s: float) -> list[float]:
    """Starts of half-overlapping windows; one window where the overlap is short."""
    if stop - start <= 1.5 * window_s:
        return [start]
    return [float(begin) for begin in np.arange(start, stop - window_s + 1e-9, window_s / 2)]


def _resample(grid: FloatArray, seconds: FloatArray, values: FloatArray) -> FloatArray:
    """Both columns of ``values`` (M, 2) at the times ``grid`` (G,), linearly; (G, 2)."""
    return np.stack([np.interp(grid, seconds, values[:, axis]) for axis in (0, 1)], axis=1)


def _best_shift(
    moves: FloatArray,
    grid: FloatArray,
    camera_s: FloatArray,
    camera_v: FloatArray,
    limit_s: float,
) -> tuple[float, float]:
    """The shift in s that, added to gaze times, matches the camera best, and its correlation."""
    lags = round(limit_s * _RATE_HZ)
    reach = np.arange(-lags, lags + 1) / _RATE_HZ
    wide = np.concatenate(
        [grid[0] + reach[:lags], grid, grid[-1] + reach[lags + 1 :]],
    )
    seen = _resample(wide, camera_s, camera_v)
    scores = np.array(
        [_correlation(moves, seen[lag : lag + len(grid)]) for lag in range(2 * lags + 1)]
    )
    peak = int(np.argmax(scores))
    offset = 0.0
    if 0 < peak < len(scores) - 1:
        before, at, after = scores[peak - 1 : peak + 2]
        bend = before - 2 * at + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float((peak - lags + offset) / _RATE_HZ), float(scores[peak])


def _correlation(first: FloatArray, second: FloatArray) -> float:
    """Normalised correlation of two (G, 2) signals, means removed."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b)) / norm if norm > 0 else 0.0


def _line_through(found: FloatArray, origin_ns: int) -> ClockOffset:
    """Theil-Sen line through (time, shift, score) rows of all windows."""
    times, shifts, scores = found.T
    slope = 0.0
    if len(times) >= _MIN_DRIFT_WINDOWS:
        first, second = np.triu_indices(len(times), k=1)
        slope = float(np.median((shifts[second] - shifts[first]) / (times[second] - times[first])))
    start_shift = float(np.median(shifts - slope * times))
    return ClockOffset(
        offset_ns=round(start_shift * NS_PER_S),
        drift_ppm=slope * 1e6,
        start_ns=origin_ns,
        correlation=float(np.median(scores)),
        windows=len(times),
    )
