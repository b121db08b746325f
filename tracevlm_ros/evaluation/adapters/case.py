"""One item of a data set as a recording: samples for the pipeline, and what is true of them."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.types import BoolArray, FloatArray, Frame, GazeSample, Image, PenState
from tracevlm_ros.evaluation.adapters.pictures import read_rgb
from tracevlm_ros.evaluation.ground_truth import GroundTruth, Labels
from tracevlm_ros.evaluation.recording import Sample

START_NS = 1_000_000_000
"""Stamp of the first frame: the pipeline takes stamp 0 for "not set"."""
CLOSE_NS = 1_000_000_000
"""The picture stands this long after a stroke: longer than the pause that closes a trace."""
OBJECT = 1
"""Label of the object in cases that have one."""


class Case(NamedTuple):
    """``samples`` reads the data anew at each call; ``truth`` is keyed by the frames' stamps."""

    name: str
    samples: Callable[[], Iterator[Sample]]
    truth: GroundTruth


def stroke_settings(base: PipelineConfig | None = None) -> PipelineConfig:
    """Settings for drawn strokes: a pointer, traces that stay, masks as soon as described."""
    base = base or PipelineConfig()
    return dataclasses.replace(
        base,
        trace=dataclasses.replace(base.trace, source="pointer"),
        live=dataclasses.replace(base.live, linger_ms=600_000.0, embedding_delay_ms=0.0),
    )


def pen_samples(stroke_xyt: FloatArray, start_ns: int = START_NS) -> list[GazeSample]:
    """A stroke (N, 3) of pixels and seconds as readings with the pen down, then one with it up."""
    first_s = float(stroke_xyt[0, 2])
    drawn = [
        GazeSample(start_ns + round((t - first_s) * 1e9), float(x), float(y), 1.0, PenState.DOWN)
        for x, y, t in stroke_xyt
    ]
    return [*drawn, drawn[-1]._replace(stamp_ns=drawn[-1].stamp_ns + 1_000_000, pen=PenState.UP)]


def play_still(image: Path, pen: Sequence[GazeSample]) -> Iterator[Sample]:
    """``drawn_on_still`` of a picture that is read when it is played."""
    yield from drawn_on_still(read_rgb(image), pen)


def drawn_on_still(image_rgb: Image, pen: Sequence[GazeSample]) -> Iterator[Sample]:
    """The picture stands while ``pen`` passes: shown before it, when it has closed, and once more.

    The trace is described on the second showing; the third is the first that has its mask.
    """
    first_ns, last_ns = pen[0].stamp_ns, pen[-1].stamp_ns
    yield Frame(first_ns - 1_000_000, image_rgb)
    yield from pen
    yield Frame(last_ns + CLOSE_NS, image_rgb)
    yield Frame(last_ns + 2 * CLOSE_NS, image_rgb)


def stroke_then_clip(
    frames: Iterable[Image], stroke_xyt: FloatArray, rate_hz: float
) -> Iterator[Frame | GazeSample]:
    """The clip stands on its first frame while the stroke is drawn, then runs at ``rate_hz``.

    The first frame comes twice, before and after the stroke; frame ``i`` of the clip has the
    stamp ``clip_stamp_ns(stroke_xyt, i, rate_hz)``.
    """
    pen = pen_samples(stroke_xyt)
    for index, image in enumerate(frames):
        if index == 0:
            yield Frame(pen[0].stamp_ns - 1_000_000, image)
            yield from pen
        yield Frame(clip_stamp_ns(stroke_xyt, index, rate_hz), image)


def clip_stamp_ns(stroke_xyt: FloatArray, index: int, rate_hz: float) -> int:
    """Stamp of frame ``index`` of a clip that waits for its stroke."""
    return pen_samples(stroke_xyt)[-1].stamp_ns + CLOSE_NS + round(index * 1e9 / rate_hz)


def mask_png(mask: BoolArray | Labels) -> bytes:
    """A label image as GroundTruth holds it; True becomes OBJECT."""
    done, png = cv2.imencode(".png", mask.astype(np.uint16))
    assert done, "a label image of 16 bits always encodes"
    return png.tobytes()
