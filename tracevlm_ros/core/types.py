"""The nouns that every stage shares.

Time is ``stamp_ns``: integer nanoseconds of the source's clock. Points are ``(x, y)`` in pixels of
the scene camera with the origin at the centre of the top-left pixel, sizes are ``(H, W)``.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Image = NDArray[np.uint8]


class PenState(IntEnum):
    """What a pointing device says of contact. Gaze trackers say nothing: UNKNOWN."""

    UNKNOWN = -1
    UP = 0
    DOWN = 1


class GazeSample(NamedTuple):
    """One reading of a gaze tracker or pointer.

    ``x_px``, ``y_px`` are pixels of the scene camera and may lie outside the image or be NaN
    (blink). ``confidence`` is 0..1; 0 means that the device saw no eye.
    """

    stamp_ns: int
    x_px: float
    y_px: float
    confidence: float = 1.0
    pen: PenState = PenState.UNKNOWN


class Word(NamedTuple):
    """One word of a speech recogniser, half-open ``[start_ns, end_ns)``."""

    text: str
    start_ns: int
    end_ns: int


class Frame(NamedTuple):
    """One camera image: ``image_rgb`` is uint8 (H, W, 3); ``frame_id`` names its tf frame."""

    stamp_ns: int
    image_rgb: Image
    frame_id: str = "camera"


class Keypoints(NamedTuple):
    """The simplification of a trace (paper section 3.2.3), in pixels of one stated frame.

    ``xy_px`` (K, 2) float64; ``stamp_ns`` (K,) int64, when each point was looked at;
    ``weight`` (K,) in 0.2..1; ``pen_up`` (K,) true where the pen was lifted before the point;
    ``lost`` (K,) true where the point could not be followed to this frame.
    """

    xy_px: FloatArray
    stamp_ns: IntArray
    weight: FloatArray
    pen_up: BoolArray
    lost: BoolArray


class TraceSnapshot(NamedTuple):
    """A trace as it stands at one frame; ``keypoints`` are in that frame's pixels."""

    trace_id: int
    start_ns: int
    end_ns: int
    is_open: bool
    sample_count: int
    keypoints: Keypoints


class Description(NamedTuple):
    """Words about one trace, streamed: ``text`` is all that is said so far.

    ``score`` is the mean probability of the tokens; ``seg_embeddings`` (6, D) float32 comes with
    the last part when the model said ``[SEG]``, and prompts the mask decoder from then on.
    """

    text: str
    is_final: bool
    score: float
    seg_embeddings: NDArray[np.float32] | None = None


class Caption(NamedTuple):
    """A description tied to the trace and to the frame that it describes."""

    trace_id: int
    stamp_ns: int
    frame_id: str
    text: str
    score: float
    is_final: bool
    trace_is_open: bool
    start_ns: int
    end_ns: int
    keypoints: Keypoints
    region_xyxy_px: tuple[float, float, float, float]
    question: str
    model_id: str


class Masks(NamedTuple):
    """``labels`` uint16 (H, W) of one frame: pixel = trace id (ids start at 1; 0 = none)."""

    stamp_ns: int
    frame_id: str
    labels: NDArray[np.uint16]
    trace_ids: tuple[int, ...]
