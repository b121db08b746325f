"""A mask carried from frame to frame by dense optical flow (DIS, Kroeger et al. 2016, OpenCV)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.types import BoolArray, Image


class FlowWarp:
    """Chained warp of the first mask; the errors of all frames add up, nothing is corrected."""

    def __init__(self, first_rgb: Image, mask: BoolArray) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before = cv2.cvtColor(first_rgb, cv2.COLOR_RGB2GRAY)
        self._share: NDArray[np.float32] = mask.astype(np.float32)

    def advance(self, image_rgb: Image) -> BoolArray:
        """The mask in the next frame; 0.5 of the carried share of a pixel is inside."""
        grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
        back = np.asarray(
            self._flow.calc(grey, self._before, np.zeros((*grey.shape, 2), np.float32))
        )
        rows, columns = np.indices(grey.shape, dtype=np.float32)
        self._share = np.asarray(
            cv2.remap(
                self._share, columns + back[..., 0], rows + back[..., 1], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT, borderValue=0,
            ),
            dtype=np.float32,
        )  # fmt: skip
        self._before = grey
        return np.asarray(self._share > 0.5)
