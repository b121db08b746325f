"""Pixels under points, also of an image that is smaller than the frame that it covers."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import FloatArray

Value = TypeVar("Value", bound=np.generic)


def values_at(
    image: NDArray[Value], points_px: FloatArray, size_hw: tuple[int, int]
) -> NDArray[Value]:
    """``image`` (h, w) stretched to ``size_hw``, at the pixels that hold ``points_px`` (N, 2).

    0 for points outside and for those that are not finite. The same as ``cv2.resize`` with
    INTER_NEAREST and then a look-up, without making the large image.
    """
    values = np.zeros(len(points_px), dtype=image.dtype)
    pixel = np.rint(np.where(np.isfinite(points_px), points_px, -1.0))
    inside = np.all((pixel >= 0) & (pixel < size_hw[::-1]), axis=1)
    column, row = (
        np.minimum(pixel[inside, axis] * (1.0 / (pixels / cells)), cells - 1).astype(np.int64)
        for axis, cells, pixels in (
            (0, image.shape[1], size_hw[1]),
            (1, image.shape[0], size_hw[0]),
        )
    )
    values[inside] = image[row, column]
    return values
