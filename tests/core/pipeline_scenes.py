"""Tiny recordings for tests of the pipeline: a textured frame and a gaze that dwells on places."""

from collections.abc import Iterator

import numpy as np

from tracevlm_ros.core.types import Frame, GazeSample

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
SIZE_HW = (120, 160)


def frames(count: int, period_ms: int = 40, start_ns: int = START_NS) -> list[Frame]:
    """A still camera on noise, which a tracker can follow."""
    image = np.random.default_rng(3).integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8)
    return [Frame(start_ns + i * period_ms * MS, image, "scene_camera") for i in range(count)]


def dwell(
    x_px: float, y_px: float, start_ms: int, end_ms: int, seed: int = 5, start_ns: int = START_NS
) -> list[GazeSample]:
    """Gaze at 125 Hz round one place."""
    noise = np.random.default_rng(seed)
    return [
        GazeSample(
            start_ns + t * MS,
            x_px + float(noise.normal(0, 0.5)),
            y_px + float(noise.normal(0, 0.5)),
        )
        for t in range(start_ms, end_ms, 8)
    ]


def by_stamp(*streams: list[Frame] | list[GazeSample]) -> Iterator[Frame | GazeSample]:
    """All samples and frames in the order of their stamps; at a tie the frame comes first."""
    merged: list[Frame | GazeSample] = [item for stream in streams for item in stream]
    yield from sorted(merged, key=lambda item: (item.stamp_ns, isinstance(item, GazeSample)))
