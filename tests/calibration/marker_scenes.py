"""Rendered pictures of printed targets, and a wearer who looks at them."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from calibration.markers import FAMILIES
from tracevlm_ros.core.gaze_mapping import GazeMapping
from tracevlm_ros.core.types import Frame, Image

SIZE_HW = (480, 640)
RATE_HZ = 15
PLACES = [(x, y) for y in (70.0, 240.0, 410.0) for x in (80.0, 320.0, 560.0)]


def picture(
    places: Iterable[tuple[int, float, float]],
    side: int = 60,
    family: str = "aruco_4x4_50",
) -> Image:
    """Markers (id, centre x, centre y) upright on light grey paper, drawn to a sub-pixel."""
    height, width = SIZE_HW
    canvas = np.full((height, width), 200, np.uint8)
    dictionary = cv2.aruco.getPredefinedDictionary(FAMILIES[family])
    for number, x, y in places:
        sheet = np.full((side + 20, side + 20), 255, np.uint8)
        sheet[10:-10, 10:-10] = cv2.aruco.generateImageMarker(dictionary, number, side)
        half = (side + 19) / 2
        move = np.array([[1, 0, x - half], [0, 1, y - half]])
        cv2.warpAffine(
            sheet, move, (width, height), canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
        )
    return np.repeat(canvas[:, :, None], 3, axis=2)


def write_video(path: Path, images: Iterable[Image], size_hw: tuple[int, int] = SIZE_HW) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE_HZ)
        stream.height, stream.width = size_hw
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames(images: Iterable[Image]) -> list[Frame]:
    return [Frame(round(i * 1e9 / RATE_HZ), image) for i, image in enumerate(images)]


def gaze_of_a_skewed_tracker(
    looked_px: np.ndarray, rng: np.random.Generator, noise_px: float = 3.0
) -> tuple[np.ndarray, GazeMapping]:
    """What a tracker says (N, 2) when the eye looks at ``looked_px``, and the mapping back."""
    right = GazeMapping(model="affine", parameters=(-0.03, 0.02, 1.04, 0.01, -0.02, 0.97))
    (tx, ty), (ax, ay), (bx, by) = np.reshape(right.parameters, (3, 2))
    size = np.array(SIZE_HW[::-1])
    inverse = np.linalg.inv(np.array([[ax, bx], [ay, by]]))
    said = ((looked_px + 0.5) / size - (tx, ty)) @ inverse.T * size - 0.5
    return said + rng.normal(0, noise_px, said.shape), right


def write_gaze(path: Path, seconds: np.ndarray, gaze_px: np.ndarray) -> None:
    rows = ["stamp_ns,x_px,y_px,confidence"]
    rows += [
        f"{round(second * 1e9)},{x:.3f},{y:.3f},1"
        for second, (x, y) in zip(seconds, gaze_px, strict=True)
    ]
    path.write_text("\n".join(rows))
