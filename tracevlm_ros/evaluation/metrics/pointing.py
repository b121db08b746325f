"""Does the mask lie under the trace that asked for it?"""

import numpy as np

from tracevlm_ros.core.types import BoolArray, Keypoints


def point_in_mask(keypoints: Keypoints, mask: BoolArray) -> tuple[int, int]:
    """Of the keypoints that are seen and inside the image: (how many lie in ``mask``, how many).

    ``mask`` (H, W); a point belongs to the pixel whose centre is nearest.
    """
    seen = np.isfinite(keypoints.xy_px).all(axis=1) & ~keypoints.lost
    pixels = np.rint(keypoints.xy_px[seen]).astype(np.int64)
    height, width = mask.shape
    inside = ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
    pixels = pixels[inside]
    return int(np.count_nonzero(mask[pixels[:, 1], pixels[:, 0]])), len(pixels)
