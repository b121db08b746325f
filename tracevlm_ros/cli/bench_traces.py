"""Traces for ``bench simplify``: long, deterministic, like a pointer and like gaze at 240 Hz."""

from collections.abc import Iterator
from itertools import chain
from math import ceil
from pathlib import Path

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray, GazeSample
from tracevlm_ros.ingest.gaze_recordings import open_gaze
from tracevlm_ros.ingest.localized_narratives import (
    is_narratives,
    pointer_samples,
    read_narratives,
)

WIDTH_PX, HEIGHT_PX = 1280, 720
RATE_HZ = 240


def pointer_trace(count: int, seed: int = 7) -> FloatArray:
    """(count, 2) whole pixels: outlines and hatchings of objects, joined by reaching movements."""
    rng = np.random.default_rng(seed)
    parts: list[FloatArray] = [np.array([[WIDTH_PX / 2, HEIGHT_PX / 2]])]
    while sum(len(part) for part in parts) < count:
        centre = rng.uniform((150, 120), (WIDTH_PX - 150, HEIGHT_PX - 120))
        radii = rng.uniform(25, 120, 2)
        steps = int(rng.uniform(1.0, 3.0) * RATE_HZ)
        phase = np.linspace(0.0, 1.0, steps)
        turns = 2 * np.pi * rng.uniform(1.0, 3.0) * phase + rng.uniform(0, 6)
        wobble = 1 + 0.08 * np.sin(rng.uniform(3, 6) * turns)
        if rng.random() < 0.5:
            stroke = np.column_stack([np.cos(turns), np.sin(turns)]) * wobble[:, None]
        else:
            stroke = np.column_stack([np.sin(turns * 6) * wobble, 2 * phase - 1])
        stroke = centre + stroke * radii
        reach = np.linspace(0.0, 1.0, int(rng.uniform(0.2, 0.5) * RATE_HZ))[:, None]
        eased = reach * reach * (3 - 2 * reach)
        parts += [parts[-1][-1] + (stroke[0] - parts[-1][-1]) * eased, stroke]
    return np.round(np.concatenate(parts)[:count])


def gaze_trace(count: int, seed: int = 7, noise_px: float = 3.0) -> FloatArray:
    """(count, 2) pixels: fixations of .15 to .6 s with tremor and drift, saccades of some 40 ms."""
    rng = np.random.default_rng(seed)
    parts: list[FloatArray] = []
    place = np.array([WIDTH_PX / 2, HEIGHT_PX / 2])
    total = 0
    while total < count:
        stay = int(rng.uniform(0.15, 0.6) * RATE_HZ)
        drift = rng.normal(0.0, 0.3, (stay, 2)).cumsum(axis=0)
        target = rng.uniform((60, 60), (WIDTH_PX - 60, HEIGHT_PX - 60))
        eased = np.linspace(0.0, 1.0, int(rng.uniform(0.03, 0.06) * RATE_HZ))[:, None]
        parts += [place + drift, place + (target - place) * eased * eased * (3 - 2 * eased)]
        total += len(parts[-2]) + len(parts[-1])
        place = target
    trace = np.concatenate(parts)[:count]
    return trace + rng.normal(0.0, noise_px, trace.shape)


def recorded_trace(path: Path, count: int) -> FloatArray:
    """The positions of a recording as one segment, followed by its mirror images to (count, 2)."""
    size_hw = (HEIGHT_PX, WIDTH_PX)
    if is_narratives(path):
        narratives = read_narratives(path)
        samples: Iterator[GazeSample] = chain.from_iterable(
            pointer_samples(each, size_hw) for each in narratives
        )
    else:
        samples = open_gaze(path).samples(size_hw)
    points = np.array([(sample.x_px, sample.y_px) for sample in samples], dtype=np.float64)
    points = points.reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        raise InputError(f"{path} has {len(points)} gaze positions; a trace needs 2 or more")
    size = np.array([WIDTH_PX, HEIGHT_PX], dtype=np.float64)
    flips = np.array([(0, 0), (1, 0), (0, 1), (1, 1)], dtype=np.float64)
    copies = [
        flip * size + (1 - 2 * flip) * points + number // 4
        for number, flip in enumerate(np.resize(flips, (ceil(count / len(points)), 2)))
    ]
    return np.ascontiguousarray(np.concatenate(copies)[:count])
