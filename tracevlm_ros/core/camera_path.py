"""How the picture moved in the last frames: brings a point seen a moment ago into this frame."""

from collections import deque
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.tracking import FrameMotion, apply_homography
from tracevlm_ros.core.types import FloatArray


class _Step(NamedTuple):
    """Frames at ``from_ns`` and ``to_ns``; ``homography`` (3, 3) takes the first to the second."""

    from_ns: int
    to_ns: int
    homography: FloatArray


class CameraPath:
    """The last ``length`` frame motions. A gaze sample is known late (a fixation is confirmed after
    tens of milliseconds), so it is carried from the frame of its own stamp to the current one.
    """

    def __init__(self, length: int = 32) -> None:
        self._steps: deque[_Step] = deque(maxlen=length)
        self._stamp_ns = 0

    def reset(self) -> None:
        self._steps.clear()
        self._stamp_ns = 0

    def add(self, stamp_ns: int, motion: FrameMotion) -> None:
        """The picture of ``stamp_ns`` came by ``motion`` out of the one before."""
        if not motion.ok:
            self._steps.clear()
        elif self._stamp_ns:
            self._steps.append(_Step(self._stamp_ns, stamp_ns, motion.homography))
        self._stamp_ns = stamp_ns

    def carry(self, xy_px: tuple[float, float], seen_ns: int) -> tuple[float, float]:
        """A point seen at ``seen_ns`` -> where it is in the newest frame.

        Between two frames the point moves by the share of the step that was still to come.
        """
        point = np.array([xy_px])
        for step in self._steps:
            if step.to_ns <= seen_ns:
                continue
            moved = apply_homography(step.homography, point)
            span = step.to_ns - step.from_ns
            share = min(1.0, (step.to_ns - seen_ns) / span)
            point = point + share * (moved - point)
        return float(point[0, 0]), float(point[0, 1])
