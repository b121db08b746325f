"""A recording as a stream of samples, in the order in which they arrived."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.types import Frame, GazeSample, Word
from tracevlm_ros.ingest.bag import BagReader, BagRecord
from tracevlm_ros.ingest.bag_messages import to_frame, to_gaze_sample, to_lens, to_word
from tracevlm_ros.ingest.gaze_recordings import open_gaze
from tracevlm_ros.ingest.topics import BagTopic, TopicKind
from tracevlm_ros.ingest.video import read_video

VIDEO_START_NS = 1_000_000_000
"""Stamp of a video's first frame: the pipeline takes stamp 0 for "not set"."""


Sample = Frame | GazeSample | Word | Lens


@dataclass(frozen=True, kw_only=True, slots=True)
class BagTopics:
    """Topics to read; None: the only one that can serve. ``point_is_normalised`` says that a
    PointStamped is 0..1 of the image instead of pixels; ``use_camera_info`` that the focal length
    is read, as the node's parameter of that name does."""

    image: str | None = None
    gaze: str | None = None
    words: str | None = None
    camera_info: str | None = None
    point_is_normalised: bool = False
    use_camera_info: bool = False


def bag_samples(bag: BagReader, topics: BagTopics, drops: Drops) -> Iterator[Sample]:
    """Frames, gaze, words and, where asked for, lenses of ``bag`` in order of log time.

    Gaze in units of the image waits for the first frame, which tells its size. Records that cannot
    be decoded are counted (``frame_unreadable``, ``gaze_unreadable``, ``word_unreadable``,
    ``camera_info_unreadable``) and left out, as are cameras without calibration
    (``camera_info_without_focal``). Raises InputError when the bag has no topic of images, of gaze
    or, to be used, of camera_info, or has several.
    """
    image, gaze = bag.find(TopicKind.IMAGE, topics.image), bag.find(TopicKind.GAZE, topics.gaze)
    words = _words_topic(bag, topics.words)
    info = bag.find(TopicKind.CAMERA_INFO, topics.camera_info) if topics.use_camera_info else None
    wanted = {topic.name for topic in (image, gaze, words, info) if topic is not None}
    size_hw: tuple[int, int] | None = None
    early: list[BagRecord] = []
    for record in bag.records(wanted):
        sample: Sample | None
        if record.topic == image.name:
            sample = _try_frame(record, drops)
            if sample is not None and size_hw is None:
                size_hw = (sample.image_rgb.shape[0], sample.image_rgb.shape[1])
                for waiting in early:
                    yield from _try_gaze(waiting, size_hw, topics, drops)
        elif record.topic == gaze.name:
            if size_hw is None:
                early.append(record)
            else:
                yield from _try_gaze(record, size_hw, topics, drops)
            continue
        elif info is not None and record.topic == info.name:
            sample = _try_lens(record, drops)
        else:
            sample = _try_word(record, drops)
        if sample is not None:
            yield sample
    if size_hw is None:
        raise InputError(
            f"bag {bag.path} has no readable image on {image.name} "
            f"({drops['frame_unreadable']} could not be decoded); check its encoding"
        )


def merged_samples(frames: Iterable[Frame], gaze: Iterable[GazeSample]) -> Iterator[Sample]:
    """Two streams, each in order of stamps, as one; gaze goes before the frame of its stamp."""
    samples = iter(gaze)
    waiting = next(samples, None)
    for frame in frames:
        while waiting is not None and waiting.stamp_ns <= frame.stamp_ns:
            yield waiting
            waiting = next(samples, None)
        yield frame
    if waiting is not None:
        yield waiting
        yield from samples


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoWithGaze:
    """A video file and the gaze recording that belongs to it.

    ``is_video_time``: the gaze's stamps count from the first frame; otherwise its first sample
    belongs to the first frame. ``gaze_offset_ns`` is added to the gaze.
    """

    video: Path
    gaze: Path
    is_video_time: bool = False
    gaze_offset_ns: int = 0


def video_samples(source: VideoWithGaze) -> Iterator[Sample]:
    """Frames and gaze of a video; the first frame is at VIDEO_START_NS.

    Raises InputError for a video without frames and for what the readers refuse.
    """
    frames = read_video(source.video)
    first = next(frames, None)
    if first is None:
        raise InputError(f"video {source.video} holds no frames; check it with ffprobe")
    shift_ns = VIDEO_START_NS - first.stamp_ns
    size_hw = (first.image_rgb.shape[0], first.image_rgb.shape[1])
    moved = (f._replace(stamp_ns=f.stamp_ns + shift_ns) for f in itertools.chain([first], frames))
    return merged_samples(moved, _moved_gaze(source, size_hw))


def _moved_gaze(source: VideoWithGaze, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    start_ns = 0 if source.is_video_time else None
    for sample in open_gaze(source.gaze).samples(size_hw):
        if start_ns is None:
            start_ns = sample.stamp_ns
        shift_ns = VIDEO_START_NS - start_ns + source.gaze_offset_ns
        yield sample._replace(stamp_ns=sample.stamp_ns + shift_ns)


def find_bags(paths: Iterable[Path]) -> list[Path]:
    """Each path is a bag or a folder of bags (at any depth); sorted, without doubles.

    Raises InputError for a path that holds none.
    """
    found: list[Path] = []
    for path in paths:
        bags = [path] if path.is_file() or not path.exists() else sorted(_bags_under(path))
        if not bags:
            raise InputError(
                f"{path} holds no bag (a folder with metadata.yaml, or .mcap or .db3 files)"
            )
        found += [bag for bag in bags if bag not in found]
    return found


def _bags_under(folder: Path) -> Iterator[Path]:
    """A folder with metadata.yaml is one bag; loose storage files are a bag each."""
    if (folder / "metadata.yaml").is_file():
        yield folder
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from _bags_under(path)
        elif path.suffix in (".mcap", ".db3"):
            yield path


def _words_topic(bag: BagReader, name: str | None) -> BagTopic | None:
    has_words = any(topic.msgtype in TopicKind.WORDS.types for topic in bag.topics)
    return bag.find(TopicKind.WORDS, name) if name is not None or has_words else None


def _try_frame(record: BagRecord, drops: Drops) -> Frame | None:
    try:
        return to_frame(record)
    except InputError:
        drops["frame_unreadable"] += 1
        return None


def _try_gaze(
    record: BagRecord, size_hw: tuple[int, int], topics: BagTopics, drops: Drops
) -> Iterator[GazeSample]:
    try:
        yield to_gaze_sample(record, size_hw, topics.point_is_normalised)
    except (InputError, ValueError):
        drops["gaze_unreadable"] += 1


def _try_word(record: BagRecord, drops: Drops) -> Word | None:
    try:
        return to_word(record)
    except InputError:
        drops["word_unreadable"] += 1
        return None


def _try_lens(record: BagRecord, drops: Drops) -> Lens | None:
    try:
        lens = to_lens(record)
    except InputError:
        drops["camera_info_unreadable"] += 1
        return None
    drops["camera_info_without_focal"] += lens is None
    return lens
