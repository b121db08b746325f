"""How a model is shown a trace: what table 4 of the paper compares.

``tvp``: keypoints through TVP and as tokens, the method itself. ``text``: written before the
question as ``<traj>(x,y),...</traj>``. ``drawn``: painted into the pictures. ``none``: not at all.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from tracevlm_ros.core.tokens import trajectory_text
from tracevlm_ros.core.types import Image
from training.data.messages import Branch, TracePoints

_COLOUR = (255, 0, 255)


def show_trace(branch: Branch, images: Sequence[Image], form: str) -> Branch:
    """``branch`` with its trace in ``form``; masks and answers stay."""
    trace = branch.trace
    if form == "tvp" or trace is None:
        return branch
    if form == "text":
        first = branch.exchanges[0]
        question = f"{trajectory_text(trace.points)} {first.question}".strip()
        asked = (first._replace(question=question), *branch.exchanges[1:])
        return branch._replace(trace=None, exchanges=asked)
    if form == "none":
        return branch._replace(trace=None)
    painted = tuple(_painted(image, trace, number) for number, image in enumerate(images))
    return branch._replace(trace=None, images=painted)


def _painted(image: Image, trace: TracePoints, picture: int) -> Image:
    """Lines between keypoints, lifted where the pen was, as wide as 1% of the picture."""
    canvas = image.copy()
    height, width = canvas.shape[:2]
    thickness = max(1, round(0.01 * max(height, width)))
    last: tuple[int, int] | None = None
    here = trace.picture == picture
    for (x, y), lifted in zip(trace.points[here], trace.pen_up[here], strict=True):
        place = (int(x * width), int(y * height))
        start = place if last is None or lifted else last
        cv2.line(canvas, start, place, _COLOUR, thickness)
        last = place
    return np.asarray(canvas, np.uint8)
