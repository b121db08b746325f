"""Which gaze looked at which target: the rules that turn recordings into ``TargetLook``s.

**Targets that are seen** (markers, positions on a topic). A gaze sample belongs to the nearest
target that is visible at its stamp, within ``max_distance``. The samples of one target form a
*stretch* while the vector from target to gaze stays within ``max_spread`` of its running median:
stable relative to the target, so that a head that turns or a marker that is carried about does not
matter, only that the eye stays on it. A single stray sample is left out; strays for longer than
``max_gap_ms`` end the stretch, and so does gaze or target missing for as long. A stretch is cut
where the target has moved by ``cell``, so that one marker carried through the view gives many
targets. Each piece of ``min_look_ms`` or more is a look; looks at one place are one target.

**Targets that are told** (clicked points with time spans). Every usable sample of the span.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from calibration.markers import Sighting
from calibration.observations import TargetLook
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import BoolArray, FloatArray, GazeSample, IntArray

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_MEDIAN_OF = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class LookRules:
    """Lengths are shares of the image's long side.

    ``max_distance`` must exceed the error before calibration and stay below half the distance of
    neighbouring targets. ``max_speed`` (long sides a second): gaze lags behind a target that moves
    faster. A target that is not seen for more than ``max_unseen_ms`` is not interpolated.
    """

    max_distance: float = 0.15
    max_spread: float = 0.03
    max_speed: float = 0.3
    cell: float = 0.1
    min_look_ms: float = 200.0
    max_gap_ms: float = 150.0
    max_unseen_ms: float = 200.0
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        require_range("max_distance", self.max_distance, 0.01, 1.0)
        require_range("max_spread", self.max_spread, 0.001, 0.5)
        require_range("max_speed", self.max_speed, 0.01, 10.0)
        require_range("cell", self.cell, 0.01, 1.0)
        require_range("min_look_ms", self.min_look_ms, 10.0, 60_000.0)
        require_range("max_gap_ms", self.max_gap_ms, 10.0, 10_000.0)
        require_range("max_unseen_ms", self.max_unseen_ms, 10.0, 10_000.0)
        require_range("min_confidence", self.min_confidence, 0.0, 1.0)


class TargetSpan(NamedTuple):
    """Somebody says that this point was looked at in ``[start_ns, end_ns)``."""

    start_ns: int
    end_ns: int
    x_px: float
    y_px: float


class _Gaze(NamedTuple):
    """Usable samples in order: ``stamp_ns`` (N,), ``xy_px`` (N, 2)."""

    stamp_ns: IntArray
    xy_px: FloatArray


def looks_at_sightings(
    sightings: Iterable[Sighting],
    samples: Iterable[GazeSample],
    size_hw: tuple[int, int],
    rules: LookRules,
    drops: Drops,
) -> list[TargetLook]:
    """Looks at targets that were seen, by the rule of this module.

    ``drops`` counts samples by reason: ``gaze_lost``, ``gaze_without_target``,
    ``gaze_far_from_target``, ``gaze_target_fast``, ``gaze_not_stable``.
    """
    gaze = _usable(samples, rules, drops)
    by_id: dict[int, list[Sighting]] = {}
    for sighting in sightings:
        by_id.setdefault(sighting.target_id, []).append(sighting)
    if not by_id or not len(gaze.stamp_ns):
        drops["gaze_without_target"] += len(gaze.stamp_ns)
        return []
    side = float(max(size_hw))
    paths = [_Path.of(seen, gaze.stamp_ns, rules, side) for seen in by_id.values()]
    nearest = _nearest(paths, gaze, rules.max_distance * side, drops)
    looks: list[TargetLook] = []
    for index, path in enumerate(paths):
        mine = nearest == index
        drops["gaze_target_fast"] += int(np.count_nonzero(mine & path.is_fast))
        chosen = np.flatnonzero(mine & ~path.is_fast)
        pieces = _pieces(gaze, path.xy_px, chosen, rules, side)
        drops["gaze_not_stable"] += len(chosen) - sum(map(len, pieces))
        places = [(path.xy_px[piece], gaze.xy_px[piece]) for piece in pieces]
        looks += _pooled(places, size_hw, rules.cell * side / 2)
    return looks


def looks_in_spans(
    spans: Sequence[TargetSpan],
    samples: Iterable[GazeSample],
    size_hw: tuple[int, int],
    rules: LookRules,
    drops: Drops,
) -> list[TargetLook]:
    """Looks at points that somebody named; ``target_without_gaze`` counts the empty ones."""
    gaze = _usable(samples, rules, drops)
    places = []
    for span in spans:
        inside = (gaze.stamp_ns >= span.start_ns) & (gaze.stamp_ns < span.end_ns)
        if not inside.any():
            drops["target_without_gaze"] += 1
            continue
        looked = gaze.xy_px[inside]
        places.append((np.tile((span.x_px, span.y_px), (len(looked), 1)), looked))
    return _pooled(places, size_hw, reach_px=1.0)


def _usable(samples: Iterable[GazeSample], rules: LookRules, drops: Drops) -> _Gaze:
    kept = {}
    for sample in samples:
        seen = np.isfinite(sample.x_px) and np.isfinite(sample.y_px)
        if seen and sample.confidence >= rules.min_confidence:
            kept[sample.stamp_ns] = (sample.x_px, sample.y_px)
        else:
            drops["gaze_lost"] += 1
    stamps = sorted(kept)
    xy = np.array([kept[stamp] for stamp in stamps], dtype=np.float64).reshape(-1, 2)
    return _Gaze(np.array(stamps, dtype=np.int64), xy)


class _Path(NamedTuple):
    """One target at the stamps of the gaze: ``xy_px`` (N, 2), NaN where it is not seen;
    ``is_fast`` (N,) where it moves too fast to be followed."""

    xy_px: FloatArray
    is_fast: BoolArray

    @classmethod
    def of(
        cls, seen: Sequence[Sighting], stamp_ns: IntArray, rules: LookRules, side: float
    ) -> "_Path":
        """Between two sightings the target moves evenly."""
        at = {item.stamp_ns: (item.x_px, item.y_px) for item in seen}
        times = np.array(sorted(at), dtype=np.int64)
        places = np.array([at[int(time)] for time in times])
        after = np.searchsorted(times, stamp_ns, side="left").clip(0, len(times) - 1)
        before = np.maximum(after - 1, 0)
        outside = (stamp_ns < times[0]) | (stamp_ns > times[-1])
        span = times[after] - times[before]
        is_gap = span > rules.max_unseen_ms * NS_PER_MS
        share = (stamp_ns - times[before]) / np.maximum(span, 1)
        moved = places[after] - places[before]
        xy = places[before] + share[:, None] * moved
        speed = np.linalg.norm(moved, axis=1) / (np.maximum(span, 1) / NS_PER_S)
        xy[outside | (is_gap & (stamp_ns != times[after]))] = np.nan
        return cls(xy, (span > 0) & ~is_gap & (speed > rules.max_speed * side))


def _nearest(paths: Sequence[_Path], gaze: _Gaze, reach_px: float, drops: Drops) -> IntArray:
    """Index (N,) of the nearest visible target within ``reach_px``, else -1, counted."""
    distance = np.stack([np.linalg.norm(path.xy_px - gaze.xy_px, axis=1) for path in paths])
    distance = np.where(np.isfinite(distance), distance, np.inf)
    nearest = np.argmin(distance, axis=0)
    least = distance.min(axis=0)
    drops["gaze_without_target"] += int(np.count_nonzero(np.isinf(least)))
    drops["gaze_far_from_target"] += int(np.count_nonzero((least > reach_px) & ~np.isinf(least)))
    return np.where(least <= reach_px, nearest, -1)


def _pieces(
    gaze: _Gaze, target_px: FloatArray, chosen: IntArray, rules: LookRules, side: float
) -> list[IntArray]:
    """Indices of stable stretches among ``chosen``, cut where the target has moved on."""
    offset = gaze.xy_px - target_px
    found: list[IntArray] = []
    start = 0
    while start < len(chosen):
        members, following = _stretch(gaze.stamp_ns, offset, chosen, start, rules, side)
        pieces = [
            piece
            for piece in _cut(members, target_px, rules.cell * side)
            if gaze.stamp_ns[piece[-1]] - gaze.stamp_ns[piece[0]] >= rules.min_look_ms * NS_PER_MS
        ]
        found += pieces
        start = following if pieces else start + 1
    return found


def _stretch(
    stamp_ns: IntArray,
    offset: FloatArray,
    chosen: IntArray,
    start: int,
    rules: LookRules,
    side: float,
) -> tuple[IntArray, int]:
    """The samples of one stretch that begins at ``chosen[start]``, and where to go on."""
    members = [int(chosen[start])]
    place = start + 1
    while place < len(chosen):
        index = int(chosen[place])
        if stamp_ns[index] - stamp_ns[members[-1]] > rules.max_gap_ms * NS_PER_MS:
            break
        usual = np.median(offset[members[-_MEDIAN_OF:]], axis=0)
        if np.linalg.norm(offset[index] - usual) <= rules.max_spread * side:
            members.append(index)
        place += 1
    return np.array(members), int(np.searchsorted(chosen, members[-1], side="right"))


def _cut(members: IntArray, target_px: FloatArray, cell_px: float) -> list[IntArray]:
    """Cut a stretch wherever the target is ``cell_px`` away from where the piece began."""
    cuts, anchor = [], target_px[members[0]]
    for place, index in enumerate(members):
        if np.linalg.norm(target_px[index] - anchor) > cell_px:
            cuts.append(place)
            anchor = target_px[index]
    return np.split(members, cuts)


def _pooled(
    places: Sequence[tuple[FloatArray, FloatArray]], size_hw: tuple[int, int], reach_px: float
) -> list[TargetLook]:
    """Looks whose targets lie within ``reach_px`` of each other become one target.

    ``places`` are (target, gaze) in pixels, (M, 2) each; the gaze of a target that moved is shifted
    to where the target was on average.
    """
    centres: list[FloatArray] = []
    groups: list[list[tuple[FloatArray, FloatArray]]] = []
    for target_px, gaze_px in places:
        centre = target_px.mean(axis=0)
        near = [i for i, c in enumerate(centres) if np.linalg.norm(c - centre) <= reach_px]
        if near:
            groups[near[0]].append((target_px, gaze_px))
        else:
            centres.append(centre)
            groups.append([(target_px, gaze_px)])
    size = np.array([size_hw[1], size_hw[0]], dtype=np.float64)
    looks = []
    for group in groups:
        target_px = np.concatenate([target for target, _ in group])
        gaze_px = np.concatenate([gaze for _, gaze in group])
        centre = target_px.mean(axis=0)
        looks.append(TargetLook((centre + 0.5) / size, (gaze_px - target_px + centre + 0.5) / size))
    return looks
