"""Small frames for the tests of tracking."""

import numpy as np

from tracevlm_ros.core.tracking import TraceTracker
from tracevlm_ros.core.types import Frame
from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture

SIZE_HW = (180, 240)


def film(seed=1, **settings):
    """A short procedural video with known motion."""
    return WarpedVideo(
        picture=textured_picture(SIZE_HW, seed), size_hw=SIZE_HW, seed=seed, **settings
    )


def stroke(centre=(120, 90), radius=30, count=40):
    """A loop of ``count`` raw points."""
    angle = np.linspace(0, 5.5, count)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), 0.7 * np.sin(angle)], axis=1)


def started(image_rgb, points=None, every=4, trace_id=1, config=None):
    """A tracker with one trace drawn on ``image_rgb``, every fourth point a keypoint."""
    tracker = TraceTracker(config)
    tracker.advance(Frame(0, image_rgb))
    points = stroke() if points is None else np.asarray(points, dtype=float)
    tracker.extend(trace_id, points)
    tracker.set_keypoints(trace_id, np.arange(0, len(points), every))
    return tracker


def errors(tracker, video, points, index, trace_id=1):
    found = tracker.positions(trace_id)[: len(points)]
    return np.linalg.norm(found - video.truth(points, index), axis=1)


def frame(image_rgb, index=0):
    return Frame(index, image_rgb)
