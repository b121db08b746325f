"""Keypoint tracking: traces stay on what they pointed at while camera and object move."""

from tracevlm_ros.core.tracking.config import TrackingConfig
from tracevlm_ros.core.tracking.motion import FrameMotion, PointStatus, apply_homography
from tracevlm_ros.core.tracking.tracker import TraceTracker

TRACKED = PointStatus.TRACKED
CARRIED = PointStatus.CARRIED
LOST = PointStatus.LOST

__all__ = [
    "CARRIED",
    "LOST",
    "TRACKED",
    "FrameMotion",
    "PointStatus",
    "TraceTracker",
    "TrackingConfig",
    "apply_homography",
]
