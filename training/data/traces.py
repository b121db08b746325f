"""From a raw stroke or gaze to what the model reads: simplified, quantised, padded.

Training draws everything that live use varies: strokes and gaze, how much of the act has happened
so far, the weight of the segment (hence the tolerance), lifted pens, drift of tracked keypoints.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.simplify import simplify, tolerance_for
from tracevlm_ros.core.tokens import dequantise, quantise
from tracevlm_ros.core.types import BoolArray
from tracevlm_ros.synthetic.attention import dwell, scribble
from training.data.sample import TraceTarget

REFERENCE_LONG_SIDE = 640.0
SLIP_SHARE = 0.3


def draw_trace(mask: BoolArray, rng: np.random.Generator) -> TraceTarget:
    """A stroke (70%) or gaze over ``mask``, sometimes unfinished, sometimes lifted and resumed."""
    act = scribble if rng.random() < 0.7 else dwell
    raw = act(mask, rng)
    if rng.random() < 0.25:
        raw = raw[: max(4, int(len(raw) * rng.uniform(0.3, 1.0)))]
    if rng.random() < 0.1:
        again = act(mask, rng)
        again[:, 2] += raw[-1, 2] + rng.uniform(0.1, 0.8)
        return TraceTarget(np.concatenate([raw, again]), len(raw))
    return TraceTarget(raw)


def simplify_trace(
    trace: TraceTarget,
    size_hw: tuple[int, int],
    weight: float,
    max_keypoints: int,
    drift: NDArray[np.float64] | float = 0.0,
) -> TracePrompt:
    """Keypoints of ``trace`` as the pipeline makes them: ``eps = 5 px / weight`` at 640 px.

    Never simplifies across a lifted pen. More than ``max_keypoints`` are thinned evenly by order,
    ends kept. ``drift`` (2,) or 0 is added in shares of the frame.
    """
    height, width = size_hw
    shares = (trace.raw[:, :2] + 0.5) / (width, height)
    scaled = shares * REFERENCE_LONG_SIDE
    cuts = [0, len(scaled)] if trace.pen_up_at is None else [0, trace.pen_up_at, len(scaled)]
    keep = np.concatenate(
        [
            start + simplify(scaled[start:end], tolerance_for(weight))
            for start, end in itertools.pairwise(cuts)
        ]
    )
    pen_up = np.isin(keep, cuts[1:-1])
    if len(keep) > max_keypoints:
        chosen = np.unique(np.linspace(0, len(keep) - 1, max_keypoints).round().astype(np.int64))
        pen_up = np.add.reduceat(pen_up, chosen).astype(np.bool_)
        keep = keep[chosen]
    stamps = trace.raw[keep, 2]
    return TracePrompt(
        points=dequantise(quantise(shares[keep] + drift)),
        dt_s=np.diff(stamps, prepend=stamps[:1]),
        pen_up=pen_up,
    )


def slip(prompt: TracePrompt, mask: BoolArray, rng: np.random.Generator) -> TracePrompt:
    """``prompt`` as a tracker brings it late in a clip: keypoints that slid off ``mask`` (S, S).

    In ``SLIP_SHARE`` of the cases some, up to all but one, have moved the same way, by up to one
    extent of the object (the side of a square of its area), each a little differently.
    """
    count = len(prompt.points)
    if count < 2 or rng.random() >= SLIP_SHARE:
        return prompt
    extent = np.sqrt(max(1.0, float(mask.sum()))) / len(mask)
    gone = rng.permutation(count)[: int(rng.integers(1, count))]
    away = rng.normal(0.0, 0.4, 2) + rng.normal(0.0, 0.08, (len(gone), 2))
    points = prompt.points.copy()
    points[gone] += np.clip(away, -1.0, 1.0) * extent
    return prompt._replace(points=dequantise(quantise(points)))
