"""A stroke looked at as the robot looks at it: through the fovea's window (``core.fovea``)."""

import cv2
import numpy as np
import torch

from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.fovea import FoveaConfig, Window, window_of
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.core.tokens import dequantise, quantise
from tracevlm_ros.core.types import Image
from training.data.batch import trace_batch
from training.evaluation.judging import Judge
from training.generation import unspoken_masks

OUTSIDE = -1.0


@torch.no_grad()
def look_closer(judging: Judge, image_rgb: Image, prompt: TracePrompt) -> np.ndarray:
    """Mask logits (H, W) float32 of the stroke alone over a picture of any size, before any word.

    ``prompt`` is in shares of the picture. What the window does not show is not the object.
    """
    height, width = image_rgb.shape[:2]
    window = window_of(
        [prompt.points * (width, height)],
        (height, width),
        (judging.side, judging.side),
        FoveaConfig(enabled=True),
    )
    features = judging.model.encode(
        torch.from_numpy(fit_image(window.cut(image_rgb), (judging.side, judging.side)))[None]
    )
    batch = trace_batch([within(prompt, window)], judging.model.config.tvp.max_keypoints)
    grounded = judging.model.ground(features.tokens, batch)
    logits = unspoken_masks(judging.model, features, grounded, batch)[0].numpy()
    found = np.full((height, width), OUTSIDE, np.float32)
    window.cut(found)[:] = cv2.resize(logits, window.size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return found


def within(prompt: TracePrompt, window: Window) -> TracePrompt:
    """``prompt`` in shares of the window instead of the frame."""
    points = window.shares(prompt.points)
    return prompt._replace(points=dequantise(quantise(points)))
