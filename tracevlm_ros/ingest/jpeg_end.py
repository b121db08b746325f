"""Is a JPEG there to its end? Decoders fill what is missing with grey, and most say nothing."""

import av
import numpy as np
from numpy.typing import NDArray

MAGIC = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_SCAN = b"\xff\xda"


def has_end_marker(data: bytes) -> bool:
    """Whether the end-of-image marker follows the last scan of the JPEG ``data``.

    Bytes after it do not count: drivers pad their buffers, or leave the last picture's there. The
    marker of a thumbnail in the header stands before the scan, and none can stand within it.
    """
    return data.endswith(_END) or data.rfind(_END) > data.rfind(_SCAN)


def with_end_marker(data: bytes) -> bytes:
    """``data`` with the marker; some USB cameras leave it out, and then some decoders refuse."""
    return data if has_end_marker(data) else data + _END


def looks_cut(pixels: NDArray[np.integer]) -> bool:
    """Whether the last row of a decoded JPEG is of one colour, as one is that was filled in."""
    return bool(np.all(pixels[-1] == pixels[-1, 0]))


def is_whole(data: bytes) -> bool:
    """Whether every block of the JPEG ``data`` can be read (decodes it: 2 to 6 ms at 1280x720).

    True where the decoder does not know the kind of JPEG, about which nothing can be said.
    """
    context = av.CodecContext.create("mjpeg", "r")
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
    try:
        context.decode(av.Packet(data))
    except av.error.InvalidDataError:
        return False
    except av.error.FFmpegError:
        return True
    return True
