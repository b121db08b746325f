"""Images whose colour stands in a plane of its own below the brightness (NV12, NV21, NV24)."""

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Image

ENCODINGS = ("nv12", "nv21", "nv24")
_CODES = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "nv24": cv2.COLOR_YUV2RGB_NV12,
}


def decode_planes(encoding: str, height: int, width: int, step: int, flat: Image) -> Image:
    """uint8 RGB (H, W, 3) of ``flat``, all bytes of the message.

    ``height`` rows of brightness, ``step`` bytes each, then the colour plane: half as many rows of
    ``step`` bytes (nv12, nv21), or as many of ``2 * step`` (nv24, of which every second pair is
    taken). Raises InputError for sizes that do not fit together.
    """
    if height <= 0 or width <= 0 or height % 2 or width % 2:
        raise InputError(
            f"image of {width}x{height} pixels in {encoding}; width and height must be even"
        )
    if step < width:
        raise InputError(
            f"image step is {step}; {width} pixels of {encoding} need at least {width} bytes a row"
        )
    needed = step * height * 3 if encoding == "nv24" else step * height * 3 // 2
    if flat.size < needed:
        raise InputError(
            f"image data has {flat.size} bytes; {width}x{height} {encoding} with step {step} "
            f"needs {needed}"
        )
    luma = flat[: step * height].reshape(height, step)[:, :width]
    chroma = flat[step * height : needed]
    if encoding == "nv24":
        pairs = chroma.reshape(height, step, 2)[::2, :width:2]
        chroma_rows = pairs.reshape(height // 2, width)
    else:
        chroma_rows = chroma.reshape(height // 2, step)[:, :width]
    planes = np.vstack([luma, chroma_rows])
    return np.asarray(cv2.cvtColor(planes, _CODES[encoding]), np.uint8)
