"""How the picture moved, frame by frame: the camera's side of clock calibration."""

from collections.abc import Iterable

import numpy as np

from calibration.clock_offset import Motion
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.tracking import TraceTracker, TrackingConfig, apply_homography
from tracevlm_ros.core.types import Frame

_MIN_FRAMES = 10


def camera_motion(frames: Iterable[Frame], config: TrackingConfig | None = None) -> Motion:
    """The path of the still scene through the middle of the picture, in pixels.

    Each step is what the global homography between two frames does to the picture's centre; steps
    add up, so only differences of positions mean anything. A frame whose motion was not measured
    (a cut, a black or featureless picture) is NaN, so that no speed is taken across it.
    Raises InputError for fewer than 10 frames and for stamps that do not rise.
    """
    tracker = TraceTracker(config)
    stamps: list[int] = []
    path: list[tuple[float, float]] = []
    x, y = 0.0, 0.0
    for frame in frames:
        if stamps and frame.stamp_ns <= stamps[-1]:
            raise InputError(
                f"frame stamps do not rise: {frame.stamp_ns} ns after {stamps[-1]} ns; cut the "
                "recording where its clock jumps"
            )
        motion = tracker.advance(frame)
        height, width = frame.image_rgb.shape[:2]
        centre = np.array([[(width - 1) / 2, (height - 1) / 2]])
        step = (apply_homography(motion.homography, centre) - centre)[0]
        known = motion.ok and bool(np.isfinite(step).all())
        if known:
            x, y = x + float(step[0]), y + float(step[1])
        stamps.append(frame.stamp_ns)
        path.append((x, y) if known else (np.nan, np.nan))
    if len(stamps) < _MIN_FRAMES:
        raise InputError(
            f"{len(stamps)} frames are too few to see motion; at least {_MIN_FRAMES} are needed"
        )
    return Motion(np.array(stamps, dtype=np.int64), np.array(path))
