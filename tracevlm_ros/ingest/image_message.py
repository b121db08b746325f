"""sensor_msgs/Image and CompressedImage content -> RGB pixels, the same for nodes and bags.

Takes plain values and a buffer, so neither rclpy nor any other message class is needed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import Image
from tracevlm_ros.ingest import image_planes, jpeg_end

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
Pixels = NDArray[np.uint8]


class _Layout(NamedTuple):
    """``bytes_per_pixel`` of one row; ``to_rgb`` takes (H, W, bytes) or (H, W) for one byte."""

    bytes_per_pixel: int
    to_rgb: Callable[[Pixels], Pixels]


def _convert(code: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _keep(pixels: Pixels) -> Pixels:
    return pixels


_LAYOUTS: dict[str, _Layout] = {
    "rgb8": _Layout(3, _keep),
    "bgr8": _Layout(3, _convert(cv2.COLOR_BGR2RGB)),
    "8UC3": _Layout(3, _convert(cv2.COLOR_BGR2RGB)),
    "rgba8": _Layout(4, _convert(cv2.COLOR_RGBA2RGB)),
    "bgra8": _Layout(4, _convert(cv2.COLOR_BGRA2RGB)),
    "8UC4": _Layout(4, _convert(cv2.COLOR_BGRA2RGB)),
    "mono8": _Layout(1, _convert(cv2.COLOR_GRAY2RGB)),
    "8UC1": _Layout(1, _convert(cv2.COLOR_GRAY2RGB)),
    "yuv422": _Layout(2, _convert(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": _Layout(2, _convert(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": _Layout(2, _convert(cv2.COLOR_YUV2RGB_YUYV)),
    "yuyv": _Layout(2, _convert(cv2.COLOR_YUV2RGB_YUYV)),
    # OpenCV names a Bayer pattern by its second row and column, ROS by its first.
    "bayer_rggb8": _Layout(1, _convert(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": _Layout(1, _convert(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": _Layout(1, _convert(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": _Layout(1, _convert(cv2.COLOR_BayerGB2RGB)),
}
_WIDE = {
    f"{name}16": f"{name}8"
    for name in (
        "rgb", "bgr", "rgba", "bgra", "mono",
        "bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg",
    )
}  # fmt: skip
"""Encodings of 16 bits a channel: the high bytes are read as another encoding."""
ENCODINGS = (*_LAYOUTS, *_WIDE, *image_planes.ENCODINGS)
_MAGIC = (jpeg_end.MAGIC, b"\x89PNG\r\n\x1a\n")
"""With which JPEG and PNG begin."""


def decode_image(
    encoding: str,
    height: int,
    width: int,
    step: int,
    data: Buffer,
    is_bigendian: bool = False,
) -> Image:
    """Pixels of a sensor_msgs/Image as uint8 RGB (H, W, 3).

    For rgb8 the result is a view of ``data`` (no copy; valid as long as the message), else a new
    array. Rows may be padded (``step``). Raises InputError for an encoding that is not in
    ENCODINGS and for sizes that do not fit together.
    """
    flat = np.frombuffer(data, np.uint8)
    if encoding in image_planes.ENCODINGS:
        return image_planes.decode_planes(encoding, height, width, step, flat)
    wide = 2 if encoding in _WIDE else 1
    layout = _LAYOUTS.get(_WIDE.get(encoding, encoding))
    if layout is None:
        raise InputError(
            f"image encoding '{encoding}' is not supported; supported: {', '.join(ENCODINGS)}"
        )
    bytes_per_pixel = wide * layout.bytes_per_pixel
    _require_fit(encoding, bytes_per_pixel, (height, width), step, flat.size)
    pixels = np.lib.stride_tricks.as_strided(
        flat, (height, width, bytes_per_pixel), (step, bytes_per_pixel, 1)
    )
    if wide == 2:
        pixels = np.ascontiguousarray(pixels[:, :, 0 if is_bigendian else 1 :: 2])
    if layout.bytes_per_pixel == 1:
        pixels = pixels[:, :, 0]
    return layout.to_rgb(pixels)


def _require_fit(
    encoding: str, bytes_per_pixel: int, size_hw: tuple[int, int], step: int, size: int
) -> None:
    """Raise InputError unless ``size`` bytes hold the rows that the other values promise."""
    height, width = size_hw
    if height <= 0 or width <= 0:
        raise InputError(f"image of {width}x{height} pixels in {encoding} is empty")
    row = width * bytes_per_pixel
    if step < row:
        raise InputError(
            f"image step is {step}; {width} pixels of {encoding} need at least {row} bytes a row"
        )
    if size < step * (height - 1) + row:
        raise InputError(
            f"image data has {size} bytes; {width}x{height} {encoding} with step {step} "
            f"needs {step * height}"
        )
    if encoding.startswith(("yu", "uy")) and width % 2:
        raise InputError(f"image width is {width}; {encoding} needs an even width")


def decode_compressed(image_format: str, data: Buffer) -> Image:
    """Pixels of a sensor_msgs/CompressedImage (JPEG or PNG) as uint8 RGB (H, W, 3).

    ``image_format`` is the message's ``format`` ("jpeg", "bgr8; jpeg compressed bgr8"); publishers
    spell it in many ways ("image/jpeg", "mjpeg", ""), so the data's first bytes decide. Raises
    InputError for other formats, depth images among them, and for data that cannot be decoded or
    are cut off.
    """
    bgr = _decoded(image_format, data, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def decode_labels(image_format: str, data: Buffer) -> NDArray[np.uint16]:
    """A PNG label image of 8 or 16 bits as uint16 (H, W). Raises InputError when it has colours."""
    labels = _decoded(image_format, data, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"label image is {labels.dtype} {labels.shape}; it must be a grey PNG of 8 or 16 bits"
        )
    return labels.astype(np.uint16)


def _decoded(image_format: str, data: Buffer, flags: int) -> NDArray[Any]:
    flat = np.frombuffer(data, np.uint8)
    words = image_format.lower().replace(";", " ").split()
    is_known = bool({"jpeg", "jpg", "png"} & set(words)) or _has_magic(flat)
    if not is_known or "compresseddepth" in words:
        raise InputError(f"compressed image format '{image_format}' is not supported; jpeg or png")
    is_jpeg = flat[:3].tobytes() == jpeg_end.MAGIC
    decoded = _decoded_jpeg(flat.tobytes(), flags) if is_jpeg else _decoded_whole(flat, flags)
    if decoded is None:
        raise InputError(
            f"compressed image ({image_format}, {flat.size} bytes) is damaged or cut off and "
            "cannot be decoded; see whether the camera's buffer or the transport loses its end"
        )
    return np.asarray(decoded, decoded.dtype)


def _decoded_whole(flat: Pixels, flags: int) -> NDArray[Any] | None:
    return cv2.imdecode(flat, flags) if flat.size else None


def _decoded_jpeg(data: bytes, flags: int) -> NDArray[Any] | None:
    """None also where the end is missing, which OpenCV would fill with grey. Only a picture that
    may be such a one is looked at closely, since that decodes it once more."""
    decoded = _decoded_whole(np.frombuffer(jpeg_end.with_end_marker(data), np.uint8), flags)
    if decoded is None:
        return None
    is_doubtful = not jpeg_end.has_end_marker(data) or jpeg_end.looks_cut(decoded)
    return None if is_doubtful and not jpeg_end.is_whole(data) else decoded


def _has_magic(flat: Pixels) -> bool:
    return flat[:8].tobytes().startswith(_MAGIC)
