"""What the ``calibrate`` commands share: recordings in, new files out."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.evaluation.recording import (
    BagTopics,
    Sample,
    VideoWithGaze,
    bag_samples,
    video_samples,
)
from tracevlm_ros.ingest.bag import BagReader

_SHOW_EVERY = 30
_NS_PER_MS = 1e6


class Recording(NamedTuple):
    """``samples`` can be read once; ``bag`` where it is one; ``drops`` counts as it is read."""

    samples: Iterator[Sample]
    bag: BagReader | None
    drops: Drops


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bag", type=Path, help="rosbag2 bag with images and gaze")
    parser.add_argument("--video", type=Path, help="video file, with --gaze")
    parser.add_argument("--gaze", type=Path, help="gaze recording that belongs to --video")
    parser.add_argument("--gaze-is-video-time", action="store_true",
                        help="gaze stamps count from the first frame; otherwise the first gaze "
                        "sample belongs to the first frame")  # fmt: skip
    parser.add_argument("--gaze-offset-ms", type=float, default=0.0,
                        help="added to gaze stamps (see: tracevlm calibrate clock)")  # fmt: skip
    parser.add_argument("--image-topic", help="default: the only image topic")
    parser.add_argument("--gaze-topic", help="default: the only gaze topic")
    parser.add_argument("--point-is-normalised", action="store_true",
                        help="a PointStamped is 0..1 of the image, not pixels")  # fmt: skip


@contextmanager
def opened_recording(arguments: argparse.Namespace) -> Iterator[Recording]:
    """The recording that the arguments name; ConfigError unless it is exactly one."""
    if (arguments.bag is None) == (arguments.video is None):
        raise ConfigError("give --bag, or --video with --gaze, and not both")
    if (arguments.video is None) != (arguments.gaze is None):
        raise ConfigError("--video and --gaze belong together; give both")
    offset_ns = round(arguments.gaze_offset_ms * _NS_PER_MS)
    drops = Drops()
    if arguments.video is not None:
        source = VideoWithGaze(
            video=arguments.video,
            gaze=arguments.gaze,
            is_video_time=arguments.gaze_is_video_time,
            gaze_offset_ns=offset_ns,
        )
        yield Recording(video_samples(source), None, drops)
        return
    topics = BagTopics(
        image=arguments.image_topic,
        gaze=arguments.gaze_topic,
        point_is_normalised=arguments.point_is_normalised,
    )
    with BagReader(arguments.bag) as bag:
        yield Recording(_shifted(bag_samples(bag, topics, drops), offset_ns), bag, drops)


def _shifted(samples: Iterator[Sample], offset_ns: int) -> Iterator[Sample]:
    for sample in samples:
        if isinstance(sample, GazeSample):
            yield sample._replace(stamp_ns=sample.stamp_ns + offset_ns)
        else:
            yield sample


def split(samples: Iterator[Sample], gaze: list[GazeSample]) -> Iterator[Frame]:
    """Frames as they come; gaze goes into ``gaze``. Shows progress on a terminal.

    Raises InputError when the frames change their size half-way: one calibration, one camera.
    """
    is_terminal = sys.stderr.isatty()
    size_hw: tuple[int, ...] | None = None
    count = 0
    for sample in samples:
        if isinstance(sample, GazeSample):
            gaze.append(sample)
        elif isinstance(sample, Frame):
            shape = sample.image_rgb.shape[:2]
            if size_hw is not None and shape != size_hw:
                raise InputError(
                    f"frame {count} is {shape[1]}x{shape[0]}, those before are "
                    f"{size_hw[1]}x{size_hw[0]}; give a recording of one camera"
                )
            size_hw, count = shape, count + 1
            if is_terminal and count % _SHOW_EVERY == 0:
                print(f"\r{count} frames", end="", file=sys.stderr, flush=True)
            yield sample
    if is_terminal:
        print(file=sys.stderr)


def require_new(path: Path) -> None:
    """Raise InputError when ``path`` exists: calibrations are kept, not overwritten."""
    if path.exists():
        raise InputError(f"{path} exists and is not overwritten; name another one or remove it")
    if not path.parent.is_dir():
        raise InputError(f"folder {path.parent} does not exist; make it first")
