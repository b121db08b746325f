"""A pointing device as gaze: where it is, and whether it touches.

The pipeline waits for gaze at the time of each frame, so a pointer that rests still has to speak:
``repeat`` says the last place again.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan

from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import GazeSample, PenState
from tracevlm_ros.ingest.live_clock import Clock, wall_clock
from tracevlm_ros.ingest.live_device import BadMessage, place_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PointerConfig:
    """A resting pointer is repeated ``rate_hz`` times a second. ``hold_ms``: a device that only
    points (``point``) is taken to have let go after that long without a point."""

    rate_hz: float = 60.0
    hold_ms: float = 300.0

    def __post_init__(self) -> None:
        require_range("rate_hz", self.rate_hz, 1.0, 1000.0)
        require_range("hold_ms", self.hold_ms, 1.0, 60_000.0)


class Pointer:
    """Events -> samples, stamped when they happen. Any thread may call; stamps never go back.

    x and y are passed through in the unit of the caller. Until the first event samples have NaN,
    confidence 0 and the pen up.
    """

    def __init__(self, config: PointerConfig | None = None, now: Clock | None = None) -> None:
        self.config = config or PointerConfig()
        self._now = now or wall_clock()
        self._lock = threading.Lock()
        self._last = GazeSample(0, nan, nan, 0.0, PenState.UP)
        self._let_go_ns: int | None = None

    def move(self, x: float, y: float, *, is_down: bool | None = None) -> GazeSample:
        """It is at (x, y) now; ``is_down`` says whether it touches, None that this is unchanged."""
        with self._lock:
            self._let_go_ns = None
            pen = self._last.pen if is_down is None else PenState(int(is_down))
            return self._at(x, y, pen)

    def point(self, x: float, y: float) -> GazeSample:
        """Something pointed at (x, y): touching, until nothing did for ``hold_ms``."""
        with self._lock:
            self._let_go_ns = self._now() + round(self.config.hold_ms * 1e6)
            return self._at(x, y, PenState.DOWN)

    def take(self, values: Mapping[str, object]) -> GazeSample:
        """``{"x": 1, "y": 2, "button": 1}``; ``button`` may be left out while it does not change.

        Raises BadMessage for anything else.
        """
        if not {"x", "y"} <= values.keys():
            raise BadMessage("pointer_key_missing")
        try:
            x, y = place_of([values["x"], values["y"]])
        except BadMessage as error:
            raise BadMessage("pointer_malformed") from error
        button = values.get("button")
        if not (isfinite(x) and isfinite(y)) or button not in (None, 0, 1):
            raise BadMessage("pointer_malformed")
        return self.move(x, y, is_down=None if button is None else bool(button))

    def repeat(self) -> GazeSample | None:
        """The last place again when it is time to; lets go when ``hold_ms`` is over."""
        with self._lock:
            now_ns = self._now()
            if now_ns - self._last.stamp_ns < 1e9 / self.config.rate_hz:
                return None
            pen = self._last.pen
            if self._let_go_ns is not None and now_ns >= self._let_go_ns:
                pen, self._let_go_ns = PenState.UP, None
            return self._at(self._last.x_px, self._last.y_px, pen)

    def _at(self, x: float, y: float, pen: PenState) -> GazeSample:
        stamp_ns = max(self._now(), self._last.stamp_ns + 1)
        confidence = 1.0 if isfinite(x) and isfinite(y) else 0.0
        self._last = GazeSample(stamp_ns, x, y, confidence, pen)
        return self._last
