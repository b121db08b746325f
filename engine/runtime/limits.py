"""What every engine checks of its caller, so that all back ends refuse the same things."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import EngineInfo, TracePrompt
from tracevlm_ros.core.errors import EngineError, EngineMismatch
from tracevlm_ros.core.types import Image


def require_open(closed: bool) -> None:
    """Raise EngineError when the engine was closed."""
    if closed:
        raise EngineError("this engine was closed; load another with engine.runtime.load_engine")


def require_image(image_rgb: Image) -> None:
    """Raise EngineMismatch unless ``image_rgb`` is uint8 (H, W, 3) with at least one pixel."""
    array = np.asarray(image_rgb)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise EngineMismatch(
            f"image is {array.dtype} {array.shape}, the engine takes uint8 (H, W, 3) RGB of any "
            "size; convert the frame first"
        )


def require_prompts(prompts: Sequence[TracePrompt], info: EngineInfo) -> None:
    """Raise EngineMismatch for no trace at all, or for a trace that the model cannot read.

    More traces than ``info.max_traces`` are no error: engines run them in several batches.
    """
    if not prompts:
        raise EngineMismatch("0 traces given, the engine grounds 1 or more; skip frames without")
    for index, prompt in enumerate(prompts):
        _require_prompt(index, prompt, info.max_keypoints)


def _require_prompt(index: int, prompt: TracePrompt, max_keypoints: int) -> None:
    points = np.asarray(prompt.points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise EngineMismatch(
            f"points of trace {index} are {points.shape}, the engine takes (K, 2); pass x, y pairs"
        )
    count = len(points)
    if not 1 <= count <= max_keypoints:
        raise EngineMismatch(
            f"trace {index} has {count} keypoints, this model takes 1..{max_keypoints}; simplify "
            "with a larger tolerance"
        )
    for name in ("dt_s", "pen_up"):
        shape = np.asarray(getattr(prompt, name)).shape
        if shape != (count,):
            raise EngineMismatch(
                f"{name} of trace {index} is {shape}, its {count} points ask ({count},); give one "
                "value per point"
            )
    if not (np.isfinite(points).all() and np.isfinite(np.asarray(prompt.dt_s)).all()):
        raise EngineMismatch(
            f"trace {index} holds NaN or infinite values; drop lost points before prompting"
        )
    if points.min() < 0.0 or points.max() > 1.0:
        raise EngineMismatch(
            f"points of trace {index} span {points.min():.3g}..{points.max():.3g}, not "
            "within 0..1 of the frame; divide by the frame size and quantise (core.tokens)"
        )


def require_index(index: int, count: int) -> None:
    """Raise EngineMismatch unless ``index`` names one of ``count`` grounded traces."""
    if not 0 <= index < count:
        raise EngineMismatch(
            f"trace index {index} asked, {count} traces are grounded; use 0..{count - 1}"
        )


def require_priors(given: Sequence[NDArray[np.float32] | None] | None, count: int) -> None:
    """Raise EngineMismatch unless there is one plane (h, w), or None, per grounded trace."""
    if given is None:
        return
    if len(given) != count:
        raise EngineMismatch(
            f"{len(given)} earlier masks given for {count} grounded traces; give one per trace, "
            "None where there is none"
        )
    for plane in given:
        if plane is not None and (plane.ndim != 2 or 0 in plane.shape):
            raise EngineMismatch(f"an earlier mask is {plane.shape}; give (h, w), 0..1")


def require_seg_embeddings(given: int, count: int) -> None:
    """Raise EngineMismatch unless there is one entry (or None) per grounded trace."""
    if given != count:
        raise EngineMismatch(
            f"{given} segmentation embeddings given for {count} grounded traces; give one per "
            "trace, None where there are none yet"
        )
