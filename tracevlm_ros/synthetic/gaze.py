"""Gaze of a person who looks at the objects of a clip, as a 120 Hz eye tracker reports it.

The eye visits one object after the other. On each it makes a few fixations, on a moving one by
smooth pursuit (a little late), with saccades between them whose duration follows the main
sequence (Carpenter 1988: 2.2 ms per degree plus 21 ms) and whose speed profile is a bell. The
tracker adds jitter, slow drift, blinks, a few doubled readings and a few that arrive late.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import BoolArray, FloatArray, GazeSample
from tracevlm_ros.synthetic.attention import minimum_jerk
from tracevlm_ros.synthetic.clip import Clip

_PURSUIT_LAG_S = 0.012
_BLINK_EDGE_S = 0.02
_FIRST_LOOK_S = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class GazeConfig:
    """Habits of the eye and faults of the tracker.

    ``visit_s`` is how long one object holds the eye, ``fixation_s`` each fixation of a visit.
    ``jitter_px`` and ``drift_px`` are sigmas, ``px_per_degree`` scales the saccades.
    ``blinks_per_minute`` of 100 to 250 ms; shares of doubled and late readings 0..1;
    ``delay_ms`` is the mean time from a reading to its arrival.
    """

    seed: int = 7
    rate_hz: float = 120.0
    visit_s: tuple[float, float] = (1.1, 2.6)
    fixation_s: tuple[float, float] = (0.25, 0.7)
    jitter_px: float = 1.2
    drift_px: float = 1.5
    px_per_degree: float = 11.0
    blinks_per_minute: float = 10.0
    doubled_share: float = 0.002
    late_share: float = 0.003
    delay_ms: float = 4.0

    def __post_init__(self) -> None:
        require_range("seed", self.seed, 0, 2**63 - 1)
        require_range("rate_hz", self.rate_hz, 5, 2000)
        for name in ("visit_s", "fixation_s"):
            low, high = getattr(self, name)
            require_range(f"{name}[0]", low, 0.05, 60)
            require_range(f"{name}[1]", high, low, 60)
        require_range("jitter_px", self.jitter_px, 0.0, 100.0)
        require_range("drift_px", self.drift_px, 0.0, 100.0)
        require_range("px_per_degree", self.px_per_degree, 0.1, 1000.0)
        require_range("blinks_per_minute", self.blinks_per_minute, 0.0, 60.0)
        require_range("doubled_share", self.doubled_share, 0.0, 0.5)
        require_range("late_share", self.late_share, 0.0, 0.5)
        require_range("delay_ms", self.delay_ms, 0.0, 1000.0)


class Visit(NamedTuple):
    """The eye rests on object ``object_index`` in the half-open interval ``[start_ns, end_ns)``."""

    object_index: int
    start_ns: int
    end_ns: int


class Arrival(NamedTuple):
    """A reading and when it reached the computer."""

    arrival_ns: int
    sample: GazeSample


class GazeTruth(NamedTuple):
    """``arrivals`` in order of arrival; ``visits`` in order of time, not overlapping.

    ``is_saccade`` (N,) and ``true_px`` (N, 2) say of each regular reading, in order of its stamp
    (doubled ones left out), whether the eye was moving quickly and where it really looked.
    """

    arrivals: tuple[Arrival, ...]
    visits: tuple[Visit, ...]
    stamps_ns: tuple[int, ...]
    true_px: FloatArray
    is_saccade: BoolArray


class _Fixation(NamedTuple):
    object_index: int
    local_xy: tuple[float, float]
    start_s: float
    end_s: float


def look_at(clip: Clip, config: GazeConfig) -> GazeTruth:
    """Follow ``clip`` from start to end. Raises ConfigError when nothing is ever in view."""
    rng = np.random.default_rng([config.seed, clip.config.seed])
    fixations = _plan(clip, config, rng)
    times = np.arange(0.0, clip.config.seconds, 1.0 / config.rate_hz)
    times = np.maximum(times + rng.normal(0.0, 0.01 / config.rate_hz, len(times)), 0.0)
    true_px, is_saccade = _eye_path(clip, config, fixations, times)
    measured = true_px + rng.normal(0.0, config.jitter_px, true_px.shape)
    measured += _drift(len(times), rng, config)
    confidence = _blink(measured, times, rng, config)
    stamps = [clip.config.start_ns + round(t * 1e9) for t in times.tolist()]
    samples = [
        GazeSample(stamp, float(x), float(y), float(sure))
        for stamp, (x, y), sure in zip(stamps, measured.tolist(), confidence.tolist(), strict=True)
    ]
    return GazeTruth(
        arrivals=_arrive(samples, rng, config),
        visits=_visits(fixations, clip.config.start_ns),
        stamps_ns=tuple(stamps),
        true_px=true_px,
        is_saccade=is_saccade,
    )


def _plan(clip: Clip, config: GazeConfig, rng: np.random.Generator) -> list[_Fixation]:
    """Visits of visible objects, each of one or more fixations, with the saccades between them."""
    fixations: list[_Fixation] = []
    now, previous = _FIRST_LOOK_S, -1
    while now < clip.config.seconds - config.fixation_s[0]:
        stay = float(rng.uniform(*config.visit_s))
        end = min(now + stay, clip.config.seconds)
        visible = [i for i in range(len(clip.objects)) if _in_view(clip, i, now, end)]
        choices = [index for index in visible if index != previous] or visible
        if not choices:
            now += 0.1
            continue
        target = choices[int(rng.integers(len(choices)))]
        now = _visit(clip, config, rng, target, now, end, fixations)
        previous = target
    if not fixations:
        raise ConfigError(
            f"seed {clip.config.seed} with {len(clip.objects)} objects shows none long enough to "
            "be looked at; raise objects or seconds, or lower world_scale"
        )
    return fixations


def _visit(
    clip: Clip,
    config: GazeConfig,
    rng: np.random.Generator,
    target: int,
    now: float,
    end: float,
    fixations: list[_Fixation],
) -> float:
    """Append the fixations on ``target`` until ``end``; the time at which the last one ends."""
    while now < end - config.fixation_s[0] / 2:
        local = _spot(clip, target, rng)
        if fixations:
            last = fixations[-1]
            here = clip.object_px(last.object_index, now, last.local_xy)
            there = clip.object_px(target, now, local)
            now += saccade_s(float(np.linalg.norm(there - here)), config.px_per_degree)
        until = min(now + float(rng.uniform(*config.fixation_s)), max(end, now + 0.1))
        fixations.append(_Fixation(target, local, now, until))
        now = until
    return now


def saccade_s(amplitude_px: float, px_per_degree: float) -> float:
    """Duration of a saccade by the main sequence."""
    return 0.021 + 0.0022 * amplitude_px / px_per_degree


def _in_view(clip: Clip, index: int, start_s: float, end_s: float) -> bool:
    """Whether the centre stays well inside the picture and no nearer object covers it."""
    height, width = clip.config.size_hw
    for t_s in np.linspace(start_s, end_s, 5).tolist():
        objects = clip.scene_at(t_s).objects
        item = objects[index]
        x, y = item.centre_xy
        inset = 0.6 * item.radius * min(height, width)
        if not (inset <= x * width <= width - inset and inset <= y * height <= height - inset):
            return False
        for other in objects[index + 1 :]:
            dx = (other.centre_xy[0] - x) * width / min(height, width)
            dy = (other.centre_xy[1] - y) * height / min(height, width)
            if np.hypot(dx, dy) < other.radius + 0.3 * item.radius:
                return False
    return True


def _spot(clip: Clip, index: int, rng: np.random.Generator) -> tuple[float, float]:
    """A point of the object to look at, in its radii: near its middle, or on the body of a ring."""
    angle, spread = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.0, 0.3))
    shape = clip.objects[index].item.shape
    if shape == "ring":
        spread = 0.75
    elif shape == "crescent":
        angle, spread = np.pi + rng.uniform(-0.8, 0.8), float(rng.uniform(0.4, 0.7))
    return float(spread * np.cos(angle)), float(spread * np.sin(angle))


def _eye_path(
    clip: Clip, config: GazeConfig, fixations: list[_Fixation], times: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Where the eye looks at each time, and whether it is in a saccade."""
    path = np.empty((len(times), 2))
    quick = np.zeros(len(times), np.bool_)
    current = 0
    for row, t_s in enumerate(times.tolist()):
        while current + 1 < len(fixations) and t_s >= fixations[current + 1].start_s:
            current += 1
        here = fixations[current]
        if t_s < here.end_s or current + 1 == len(fixations):
            late = max(0.0, t_s - _PURSUIT_LAG_S)
            path[row] = clip.object_px(here.object_index, late, here.local_xy)
            continue
        there = fixations[current + 1]
        begin = clip.object_px(here.object_index, here.end_s, here.local_xy)
        land = clip.object_px(there.object_index, there.start_s - _PURSUIT_LAG_S, there.local_xy)
        share = np.array((t_s - here.end_s) / max(there.start_s - here.end_s, 1e-9))
        quick[row] = np.linalg.norm(land - begin) > config.px_per_degree
        path[row] = begin + float(minimum_jerk(share)) * (land - begin)
    return path, quick


def _drift(count: int, rng: np.random.Generator, config: GazeConfig) -> FloatArray:
    """A slow error of calibration: a first-order process with a time constant of two seconds."""
    keep = float(np.exp(-1.0 / (2.0 * config.rate_hz)))
    kicks = rng.normal(0.0, config.drift_px * np.sqrt(1 - keep**2), (count, 2))
    drift = np.zeros((count, 2))
    for row in range(1, count):
        drift[row] = keep * drift[row - 1] + kicks[row]
    return drift


def _blink(
    measured: FloatArray, times: FloatArray, rng: np.random.Generator, config: GazeConfig
) -> FloatArray:
    """Confidence per reading; during a blink positions become NaN in place and confidence 0."""
    confidence = np.clip(rng.normal(0.95, 0.02, len(times)), 0.0, 1.0)
    expected = config.blinks_per_minute * float(times[-1]) / 60.0
    for _ in range(int(rng.poisson(expected))):
        start = rng.uniform(0.3, max(0.31, float(times[-1]) - 0.3))
        end = start + rng.uniform(0.1, 0.25)
        closed = (times >= start) & (times < end)
        edge = (times >= start - _BLINK_EDGE_S) & (times < end + _BLINK_EDGE_S) & ~closed
        measured[closed] = np.nan
        confidence[closed] = 0.0
        measured[edge, 1] += rng.uniform(5.0, 15.0)
        confidence[edge] *= rng.uniform(0.2, 0.5, int(edge.sum()))
    return confidence


def _arrive(
    samples: list[GazeSample], rng: np.random.Generator, config: GazeConfig
) -> tuple[Arrival, ...]:
    """Delays, doubles and late ones; sorted by arrival (of equals, the earlier reading first)."""
    arrivals: list[Arrival] = []
    for sample in samples:
        delay_ms = config.delay_ms * float(rng.uniform(0.7, 1.3))
        fate = rng.random()
        if fate < config.late_share:
            delay_ms += float(rng.uniform(1.2, 2.5)) * 1000.0 / config.rate_hz
        arrivals.append(Arrival(sample.stamp_ns + round(delay_ms * 1e6), sample))
        if fate > 1.0 - config.doubled_share:
            arrivals.append(Arrival(sample.stamp_ns + round((delay_ms + 0.3) * 1e6), sample))
    arrivals.sort(key=lambda arrival: (arrival.arrival_ns, arrival.sample.stamp_ns))
    return tuple(arrivals)


def _visits(fixations: list[_Fixation], start_ns: int) -> tuple[Visit, ...]:
    visits: list[Visit] = []
    for fixation in fixations:
        begin = start_ns + round(fixation.start_s * 1e9)
        end = start_ns + round(fixation.end_s * 1e9)
        if visits and visits[-1].object_index == fixation.object_index:
            visits[-1] = visits[-1]._replace(end_ns=end)
        else:
            visits.append(Visit(fixation.object_index, begin, end))
    return tuple(visits)
