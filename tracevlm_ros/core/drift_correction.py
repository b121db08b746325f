"""A head set slips on the nose: gaze drifts by a few pixels a minute. Known places bring it back.

Where a person points with a pen or pointer, the eye rests too; so does it on a target that is known
to be looked at. Each such agreement is one measurement of the drift. Corrections are slow, robust
and bounded: a wrong measurement can do little, many of them no more than ``max_px``.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.settings import require_range, require_settings, setting
from tracevlm_ros.core.types import FloatArray

_NS_PER_MS = 1_000_000
_MIN_SAMPLES = 3
_MAX_WAITING = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftConfig:
    """Slow, bounded correction of gaze. Lengths are pixels of the scene camera."""

    enabled: bool = setting(False, "Learn how gaze drifts from places known to be looked at.")
    max_px: float = setting(60.0, "The correction is never longer than this.", 0.0, 10_000.0)
    step_px: float = setting(
        4.0, "The correction changes by at most this per agreement.", 0.001, 10_000.0
    )
    gate_px: float = setting(
        90.0,
        "Gaze farther than this from the known place tells nothing: the person looked elsewhere.",
        0.0,
        10_000.0,
    )
    steady_px: float = setting(
        20.0,
        "Gaze tells nothing unless it stays within this of its median about the known place.",
        0.0,
        10_000.0,
    )
    window_ms: float = setting(
        200.0, "Gaze within this about a known place's stamp counts.", 1.0, 10_000.0
    )
    interval_ms: float = setting(
        500.0,
        "Known places are at least this far apart, so that one long stroke is not a hundred.",
        0.0,
        600_000.0,
    )
    min_agreements: int = setting(
        3, "Agreements after which the correction begins. At most memory.", 1, 1000
    )
    memory: int = setting(
        15, "The correction follows the median of so many last agreements.", 1, 1000
    )

    def __post_init__(self) -> None:
        require_settings(self, "drift")
        require_range("drift.min_agreements", self.min_agreements, 1, self.memory)


class KnownPlace(NamedTuple):
    """At ``stamp_ns`` the person looks at this pixel of the scene, as far as anybody knows."""

    stamp_ns: int
    x_px: float
    y_px: float


class DriftCorrection:
    """Learns from ``add_place`` and ``observe``, corrects with ``apply``. No clock of its own.

    ``drops`` counts places that taught nothing: ``drift_gaze_missing`` (too little gaze about
    them), ``drift_gaze_unsteady``, ``drift_gaze_elsewhere``, ``drift_place_too_soon``.
    """

    def __init__(self, config: DriftConfig, drops: Drops) -> None:
        self._config = config
        self._drops = drops
        self._half_ns = round(config.window_ms * _NS_PER_MS / 2)
        self._interval_ns = round(config.interval_ms * _NS_PER_MS)
        self.reset()

    def reset(self) -> None:
        """Forget what was learnt: the correction is zero again."""
        self._offset_px: FloatArray = np.zeros(2)
        self._agreements: deque[FloatArray] = deque(maxlen=self._config.memory)
        self._gaze: deque[tuple[int, float, float]] = deque()
        self._places: deque[KnownPlace] = deque(maxlen=_MAX_WAITING)
        self._last_ns: int | None = None

    @property
    def offset_px(self) -> tuple[float, float]:
        """What ``apply`` adds."""
        return float(self._offset_px[0]), float(self._offset_px[1])

    def apply(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Corrected gaze."""
        return x_px + float(self._offset_px[0]), y_px + float(self._offset_px[1])

    def add_place(self, place: KnownPlace) -> None:
        """It is judged once gaze has come past its window. Stamps may come in any order."""
        if not self._config.enabled:
            return
        if self._last_ns is not None and abs(place.stamp_ns - self._last_ns) < self._interval_ns:
            self._drops["drift_place_too_soon"] += 1
            return
        self._last_ns = place.stamp_ns
        self._places.append(place)

    def observe(self, stamp_ns: int, x_px: float, y_px: float) -> None:
        """One usable gaze sample *before* ``apply``, stamps rising; judges places that are due."""
        if not self._config.enabled:
            return
        self._gaze.append((stamp_ns, x_px, y_px))
        due = [place for place in self._places if place.stamp_ns + self._half_ns <= stamp_ns]
        for place in due:
            self._places.remove(place)
            self._judge(place)
        while self._gaze and stamp_ns - self._gaze[0][0] > 4 * self._half_ns:
            self._gaze.popleft()

    def _judge(self, place: KnownPlace) -> None:
        near = [
            (x, y) for stamp, x, y in self._gaze if abs(stamp - place.stamp_ns) <= self._half_ns
        ]
        if len(near) < _MIN_SAMPLES:
            self._drops["drift_gaze_missing"] += 1
            return
        looked = np.median(near, axis=0)
        strayed = float(np.median(np.linalg.norm(np.array(near) - looked, axis=1)))
        measured = np.array([place.x_px, place.y_px]) - looked
        if strayed > self._config.steady_px:
            self._drops["drift_gaze_unsteady"] += 1
        elif np.linalg.norm(measured - self._offset_px) > self._config.gate_px:
            self._drops["drift_gaze_elsewhere"] += 1
        else:
            self._learn(measured)

    def _learn(self, measured: FloatArray) -> None:
        self._agreements.append(measured)
        if len(self._agreements) < self._config.min_agreements:
            return
        wanted = _shortened(np.median(self._agreements, axis=0), self._config.max_px)
        self._offset_px = self._offset_px + _shortened(
            wanted - self._offset_px, self._config.step_px
        )


def _shortened(vector: FloatArray, longest: float) -> FloatArray:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
