"""From mask logits of several traces to one label image in the camera's pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import Frame, Masks

LABELS = 65_535


def label_of(trace_id: int) -> int:
    """The pixel value of a trace: its id, wrapped so that 0 stays 'none' in 16 bits."""
    return (trace_id - 1) % LABELS + 1


def compose(
    frame: Frame, trace_ids: Sequence[int], logits: Sequence[NDArray[np.float32] | None]
) -> Masks:
    """Each pixel goes to the trace with the highest logit above 0.

    ``logits[i]`` float32 (h, w) covers the whole frame at the model's mask size; None: no mask yet.
    """
    height, width = frame.image_rgb.shape[:2]
    labels = np.zeros((height, width), dtype=np.uint16)
    best: NDArray[np.float32] | None = None
    shown: list[int] = []
    for trace_id, logit in zip(trace_ids, logits, strict=True):
        if logit is None:
            continue
        full = np.asarray(
            cv2.resize(logit, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
        )
        wins = full > 0 if best is None else full > np.maximum(best, 0)
        labels[wins] = label_of(trace_id)
        best = full if best is None else np.maximum(best, full)
        shown.append(trace_id)
    return Masks(frame.stamp_ns, frame.frame_id, labels, tuple(shown))
