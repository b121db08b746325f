"""How far keypoints may stray from a trace: METHOD's ``eps_i = eps_base / w_i``."""

import math

from tracevlm_ros.core.errors import ConfigError

BASE_PX = 5.0
REFERENCE_LONG_SIDE_PX = 640


def tolerance_for(
    weight: float, base_px: float = BASE_PX, long_side_px: float | None = None
) -> float:
    """Tolerance in pixels of a segment of importance ``weight`` (paper: 0.2..1, at most 1).

    With ``long_side_px``, the long side of the image, it grows with the image: times
    ``long_side_px / 640``. Without, it is in native pixels as in the paper. ConfigError unless all
    are positive and the weight is at most 1.
    """
    if not 0.0 < weight <= 1.0:
        raise ConfigError(f"weight is {weight!r}; it must be above 0 and at most 1")
    if not (base_px > 0.0 and math.isfinite(base_px)):
        raise ConfigError(f"base_px is {base_px!r}; it must be a positive number")
    if long_side_px is None:
        return base_px / weight
    if not (long_side_px > 0.0 and math.isfinite(long_side_px)):
        raise ConfigError(f"long_side_px is {long_side_px!r}; it must be a positive number")
    return base_px * (long_side_px / REFERENCE_LONG_SIDE_PX) / weight
