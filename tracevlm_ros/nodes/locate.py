"""Where a text was found, as the response of the service ``locate``."""

import numpy as np

from tracevlm_msgs import msg as out
from tracevlm_msgs.srv import Locate
from tracevlm_ros.core.engine import Location
from tracevlm_ros.core.label_image import compose
from tracevlm_ros.core.types import FloatArray, Frame
from tracevlm_ros.nodes import convert


def fill_location(response: Locate.Response, frame: Frame, location: Location) -> None:
    """Trace, box and mask in pixels of ``frame``, with its stamp. The box is that of the mask, or
    of the trace where there is no mask; a mask of no pixel is left empty, too."""
    height, width = frame.image_rgb.shape[:2]
    header = convert.header_of(frame.stamp_ns, frame.frame_id)
    points_px = location.points * (width, height) - 0.5
    stamp = header.stamp
    response.trace = out.Trace(
        header=header,
        start=stamp,
        end=stamp,
        sample_count=len(points_px),
        keypoints=[
            out.Keypoint(x=float(x), y=float(y), stamp=stamp, weight=1.0) for x, y in points_px
        ],
    )
    mask = compose(frame, [1], [location.logits]).labels.astype(np.uint8) * np.uint8(255)
    rows, columns = np.nonzero(mask)
    if len(rows):
        response.mask = convert.image_message(mask, "mono8", header)
        points_px = np.stack([columns, rows], axis=1).astype(np.float64)
    response.region = convert.region_message(_box(points_px, (height, width)))


def _box(points_px: FloatArray, size_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the points, inside the image."""
    limit = np.array([size_hw[1], size_hw[0]]) - 1.0
    low, high = np.clip([points_px.min(axis=0), points_px.max(axis=0)], 0.0, limit)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
