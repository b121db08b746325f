from pathlib import Path

import av
import numpy as np
import pytest

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.overlay_video import OverlayVideo

MS = 1_000_000


def test_the_video_plays_everywhere_and_keeps_the_frames_own_times(tmp_path: Path) -> None:
    stamps_ms = (0, 33, 70, 100, 250)
    with OverlayVideo(tmp_path / "x.mp4") as video:
        for index, stamp in enumerate(stamps_ms):
            picture = np.full((49, 65, 3), 40 * index, dtype=np.uint8)
            video.write(picture, 5_000_000_000 + stamp * MS)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (64, 48)
        frames = list(container.decode(stream))
    assert [round(frame.time * 1000) for frame in frames] == list(stamps_ms)
    levels = [float(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    assert levels == pytest.approx([0, 40, 80, 120, 160], abs=4)


def test_frames_out_of_order_or_of_another_size_are_counted_and_left_out(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "x.mp4") as video:
        video.write(np.zeros((48, 64, 3), np.uint8), 100 * MS)
        video.write(np.zeros((48, 64, 3), np.uint8), 100 * MS)
        video.write(np.zeros((24, 64, 3), np.uint8), 200 * MS)
    assert video.skipped == 2


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.*x\.mp4"):
        OverlayVideo(tmp_path / "absent" / "x.mp4")
