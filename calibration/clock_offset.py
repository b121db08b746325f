"""The delay between gaze and camera, from motion that both have seen.

When the head turns, the picture moves and, for a wearer who keeps looking at a thing, the gaze
point moves with it; when a target moves, gaze follows. Either way two speed signals share a shape,
and the shift that aligns them best is the offset of the clocks.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, IntArray

ComplexArray = NDArray[np.complex128]

_RATE_HZ = 500.0
_MIN_OVERLAP_S = 1.0
_MIN_KNOWN_S = 0.5
_MIN_CORRELATION = 0.3
_CHANCE = 0.9
"""Unrelated motions of T seconds were seen to reach a correlation of up to 0.9 / sqrt(T) at their
best offset (head motion is slow: 2 s hold few independent samples); no more than that is none."""
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
    """Align the velocity of ``gaze`` with that of ``camera`` (both as seen in the image), or with
    that of a target which the eye follows.

    Each window gives one offset by cross-correlation of both velocity components with sub-sample
    interpolation; a robust line through them gives offset and drift. Raises InputError when the
    recordings never overlap or nothing in them agrees.
    """
    origin_ns = min(_first_ns(gaze, "gaze"), _first_ns(camera, "camera"))
    seen = _Path.of(camera, origin_ns, skip_fast=False)
    looked = _Path.of(gaze, origin_ns, skip_fast=True)
    start = max(seen.seconds[0], looked.seconds[0])
    stop = min(seen.seconds[-1], looked.seconds[-1])
    if stop - start < _MIN_OVERLAP_S:
        raise InputError(
            f"gaze and camera overlap for {max(0.0, stop - start):.2f} s; at least "
            f"{_MIN_OVERLAP_S:g} s are needed: were they recorded at the same time?"
        )
    found = []
    for begin in _window_starts(start, stop, window_s):
        grid = np.arange(begin, min(begin + window_s, stop), 1 / _RATE_HZ)
        best = _best_shift(looked, seen, grid, max_offset_ms / 1e3)
        if best is not None:
            found.append((float(grid.mean()), best.shift_s, best.score))
    if not found:
        raise InputError(
            f"gaze and camera motion do not agree at any offset within {max_offset_ms:g} ms; turn "
            "the head for some 20 s while looking at one thing (or follow a moving target that is "
            "named), or raise the limit"
        )
    return _line_through(np.array(found), origin_ns)


def _first_ns(motion: Motion, name: str) -> int:
    """The first stamp; raises InputError for a motion that cannot be used at all."""
    if len(motion.stamp_ns) < 3 or np.any(np.diff(motion.stamp_ns) <= 0):
        raise InputError(f"{name}: at least 3 samples with rising stamps are needed")
    if np.count_nonzero(np.all(np.isfinite(np.diff(motion.xy_px, axis=0)), axis=1)) < 3:
        raise InputError(f"{name}: fewer than 3 usable samples")
    return int(motion.stamp_ns[0])


class _Path(NamedTuple):
    """A motion ready to be asked for velocities.

    ``seconds`` (M,) since the origin, ``xy`` (M, 2) without NaN, ``unknown_s`` (M,): how much of
    the time so far is unknown; ``step_s`` the median time between samples.
    """

    seconds: FloatArray
    xy: FloatArray
    unknown_s: FloatArray
    step_s: float

    @classmethod
    def of(cls, motion: Motion, origin_ns: int, *, skip_fast: bool) -> "_Path":
        """``skip_fast``: saccades count as unknown, and the steps on either side of them."""
        seconds = (np.asarray(motion.stamp_ns) - origin_ns) / NS_PER_S
        step = np.diff(seconds)
        speed = np.linalg.norm(np.diff(motion.xy_px, axis=0), axis=1) / step
        unknown = ~np.isfinite(speed) | (step > 4 * np.median(step))
        if skip_fast:
            fast = speed > _SPEED_LIMIT * max(float(np.nanmedian(speed)), 1e-9)
            unknown |= fast | np.append(fast[1:], False) | np.append(False, fast[:-1])
        known = np.all(np.isfinite(motion.xy_px), axis=1)
        return cls(
            seconds,
            _resample(seconds, seconds[known], motion.xy_px[known]),
            np.concatenate([[0.0], np.cumsum(unknown * step)]),
            float(np.median(step)),
        )

    def velocity(self, at_s: FloatArray, span_s: float) -> tuple[FloatArray, BoolArray]:
        """Mean velocities (G, 2) over ``span_s`` about the times ``at_s``; (G,) which are known."""
        before, after = at_s - span_s / 2, at_s + span_s / 2
        moved = _resample(after, self.seconds, self.xy) - _resample(before, self.seconds, self.xy)
        lost_s = np.interp(after, self.seconds, self.unknown_s) - np.interp(
            before, self.seconds, self.unknown_s
        )
        inside = (before >= self.seconds[0]) & (after <= self.seconds[-1])
        return moved / span_s, inside & (lost_s < 1e-6)


def _window_starts(start: float, stop: float, window_s: float) -> list[float]:
    """Starts of half-overlapping windows; one window where the overlap is short."""
    if stop - start <= 1.5 * window_s:
        return [start]
    return [float(begin) for begin in np.arange(start, stop - window_s + 1e-9, window_s / 2)]


def _resample(grid: FloatArray, seconds: FloatArray, values: FloatArray) -> FloatArray:
    """Both columns of ``values`` (M, 2) at the times ``grid`` (G,), linearly; (G, 2)."""
    return np.stack([np.interp(grid, seconds, values[:, axis]) for axis in (0, 1)], axis=1)


class _Shift(NamedTuple):
    """``shift_s``, added to gaze times, matches the camera best; ``score``: the correlation."""

    shift_s: float
    score: float


def _best_shift(looked: _Path, seen: _Path, grid: FloatArray, limit_s: float) -> _Shift | None:
    """The peak of the correlation over shifts; None where no peak stands out of chance.

    Both velocities are means over the camera's frame interval, so that noise is averaged out and
    gaze is measured as the picture is.
    """
    span_s = max(seen.step_s, looked.step_s)
    moves, moves_known = looked.velocity(grid, span_s)
    lags = round(limit_s * _RATE_HZ)
    reach = np.arange(-lags, lags + 1) / _RATE_HZ
    wide = np.concatenate([grid[0] + reach[:lags], grid, grid[-1] + reach[lags + 1 :]])
    views, views_known = seen.velocity(wide, span_s)
    scores = masked_correlations(
        moves, moves_known, views, views_known, round(_MIN_KNOWN_S * _RATE_HZ)
    )
    peak = int(np.argmax(scores))
    needed = max(_MIN_CORRELATION, _CHANCE * np.sqrt(_RATE_HZ / max(1, moves_known.sum())))
    if not 0 < peak < 2 * lags or scores[peak] < needed:
        return None
    before, at, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return _Shift(float((peak - lags + offset) / _RATE_HZ), float(scores[peak]))


def masked_correlations(
    first: FloatArray,
    first_known: BoolArray,
    second: FloatArray,
    second_known: BoolArray,
    least: int,
) -> FloatArray:
    """Correlation of ``first`` (G, 2) with each stretch of ``second`` (G + L - 1, 2); (L,).

    Over the samples that both know, each column's mean removed, columns summed; 0 where fewer than
    ``least`` are known. All sums at once by Fourier transform.
    """
    size = len(second) + len(first)
    known = np.fft.rfft(first_known.astype(np.float64), size).conj()
    views_known = np.fft.rfft(second_known.astype(np.float64), size)
    lags = len(second) - len(first) + 1

    def sums(a: ComplexArray, b: ComplexArray) -> FloatArray:
        return np.asarray(np.fft.irfft(a * b, size)[:lags])

    count = np.maximum(np.round(sums(known, views_known)), 1.0)
    product, power_a, power_b = np.zeros(lags), np.zeros(lags), np.zeros(lags)
    for axis in (0, 1):
        a, b = first[:, axis] * first_known, second[:, axis] * second_known
        spectrum_a, spectrum_b = np.fft.rfft(a, size).conj(), np.fft.rfft(b, size)
        sum_a, sum_b = sums(spectrum_a, views_known), sums(known, spectrum_b)
        product += sums(spectrum_a, spectrum_b) - sum_a * sum_b / count
        power_a += sums(np.fft.rfft(a * a, size).conj(), views_known) - sum_a**2 / count
        power_b += sums(known, np.fft.rfft(b * b, size)) - sum_b**2 / count
    norm = np.sqrt(np.maximum(power_a, 0.0) * np.maximum(power_b, 0.0))
    usable = (count >= least) & (norm > 1e-9 * np.max(norm, initial=0.0))
    return np.where(usable, product / np.where(usable, norm, 1.0), 0.0)


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
