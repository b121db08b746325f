"""Gaze recordings and narratives as bags that ``tracevlm run``, ``replay`` and ``evaluate`` take.

| topic | type |
|---|---|
| /camera/image/compressed | sensor_msgs/CompressedImage, where there is a picture |
| /gaze | tracevlm_msgs/GazeSample in pixels |
| /words | tracevlm_msgs/Word, of narratives |

Stamps are those of the device when they are Unix times; otherwise all are moved, so that the first
is at ``START_NS``. When a message arrived was not recorded: log times are the stamps, never falling
within a topic. Late and doubled readings stay in the order of the recording.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Frame, GazeSample
from tracevlm_ros.ingest import message_build as build
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.gaze_recordings import open_gaze
from tracevlm_ros.ingest.localized_narratives import (
    Narrative,
    find_picture,
    pointer_samples,
    read_narratives,
)
from tracevlm_ros.ingest.scene_frames import open_scene

IMAGE_TOPIC, GAZE_TOPIC, WORDS_TOPIC = "/camera/image/compressed", "/gaze", "/words"
START_NS = 1_700_000_000_000_000_000
_UNIX_SINCE_NS = 1_000_000_000_000_000_000
"""September 2001: an earlier stamp counts from somewhere else than 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BagSettings:
    """``picture_hz``: how often the still picture of a narrative is repeated."""

    storage: str = "mcap"
    frame_id: str = "camera"
    jpeg_quality: int = 90
    gaze_offset_ms: float = 0.0
    picture_hz: float = 10.0

    def __post_init__(self) -> None:
        require_range("jpeg_quality", self.jpeg_quality, 1, 100)
        require_range("gaze_offset_ms", self.gaze_offset_ms, -3_600_000, 3_600_000)
        require_range("picture_hz", self.picture_hz, 0.1, 1000)


class RecordingBag(NamedTuple):
    """What was written: messages by topic, and how pictures and gaze came to one clock."""

    path: Path
    form: str
    counts: dict[str, int]
    seconds: float
    tied_by: str


class _Timed(NamedTuple):
    log_ns: int
    topic: str
    message: Any


def write_gaze_bag(
    recording: Path,
    out: Path,
    settings: BagSettings,
    video: Path | None = None,
    size_hw: tuple[int, int] | None = None,
) -> RecordingBag:
    """A recording of gaze with its scene ``video``, or without: then ``size_hw`` is the scene's.

    Raises InputError for what cannot be read, and ConfigError when the size is not known.
    """
    opened = open_gaze(recording)
    first = next(iter(opened.samples((1, 1))), None)
    if first is None:
        raise InputError(f"{recording} holds no reading; record it again")
    offset_ns = round(settings.gaze_offset_ms * 1e6)
    shift_ns = 0 if first.stamp_ns >= _UNIX_SINCE_NS else START_NS - first.stamp_ns
    streams: list[Iterator[_Timed]] = []
    tied_by = "no video"
    if video is not None:
        scene = open_scene(video, recording, first.stamp_ns)
        size_hw, tied_by = scene.size_hw, scene.tied_by
        streams.append(_frames(scene.frames, shift_ns, settings))
    if size_hw is None:
        raise ConfigError(
            "the size of the scene is not known; give the scene video, or the size of its picture"
        )
    moved = (
        sample._replace(stamp_ns=sample.stamp_ns + shift_ns + offset_ns)
        for sample in opened.samples(size_hw)
    )
    streams.append(_gaze(moved, settings, opened.form))
    return _write(out, opened.form, streams, tied_by, settings)


def write_narrative_bag(
    narratives: Path, index: int, images: Path, out: Path, settings: BagSettings
) -> RecordingBag:
    """Narrative ``index`` (from 0) of a file: its pictures as they were shown, pointer and words.

    A picture is looked for as ``images/[data set/]<image id>.jpg`` (.jpeg, .png); of a video the
    keyframe that is drawn on is shown. Raises InputError where one is missing.
    """
    chosen = next(itertools.islice(read_narratives(narratives), index, None), None)
    if chosen is None or not chosen.strokes:
        raise InputError(
            f"{narratives} has no narrative {index} with a trace; choose another number"
        )
    shown = _shown_pictures(chosen, images)
    picture = cv2.imread(str(shown[0][1]))
    if picture is None:
        raise InputError(f"{shown[0][1]} is no picture; get it again")
    times = [point.time_ns for stroke in chosen.strokes for point in stroke]
    first_ns = min([*times, *(word.start_ns for word in chosen.words)])
    last_ns = max([*times, *(word.end_ns for word in chosen.words)])
    shift_ns = START_NS - first_ns
    pen = sorted(pointer_samples(chosen, picture.shape[:2]), key=lambda sample: sample.stamp_ns)
    moved = (sample._replace(stamp_ns=sample.stamp_ns + shift_ns) for sample in pen)
    streams = [
        _pictures(shown, first_ns, last_ns, shift_ns, settings),
        _gaze(moved, settings, "pointer"),
        _words(chosen, shift_ns, settings),
    ]
    return _write(out, "narrative", streams, "the voice recording's clock", settings)


def _write(
    out: Path,
    form: str,
    streams: list[Iterator[_Timed]],
    tied_by: str,
    settings: BagSettings,
) -> RecordingBag:
    counts: Counter[str] = Counter()
    first_ns = last_ns = 0
    with BagWriter(out, settings.storage, compress=True) as bag:
        for timed in heapq.merge(*(_rising(s) for s in streams), key=lambda timed: timed.log_ns):
            first_ns = first_ns or timed.log_ns
            last_ns = timed.log_ns
            counts[timed.topic] += 1
            bag.write(timed.topic, timed.message, timed.log_ns)
    return RecordingBag(out, form, dict(counts), (last_ns - first_ns) / 1e9, tied_by)


def _rising(stream: Iterator[_Timed]) -> Iterator[_Timed]:
    """Log times that never fall."""
    newest_ns = 0
    for timed in stream:
        newest_ns = max(newest_ns, timed.log_ns)
        yield timed._replace(log_ns=newest_ns)


def _frames(frames: Iterable[Frame], shift_ns: int, settings: BagSettings) -> Iterator[_Timed]:
    for frame in frames:
        stamp = frame.stamp_ns + shift_ns
        image = build.jpeg_image(frame.image_rgb, settings.jpeg_quality, stamp, settings.frame_id)
        yield _Timed(stamp, IMAGE_TOPIC, image)


def _gaze(samples: Iterable[GazeSample], settings: BagSettings, source: str) -> Iterator[_Timed]:
    for sample in samples:
        yield _Timed(sample.stamp_ns, GAZE_TOPIC, build.gaze(sample, settings.frame_id, source))


def _words(narrative: Narrative, shift_ns: int, settings: BagSettings) -> Iterator[_Timed]:
    for spoken in narrative.words:
        moved = spoken._replace(
            start_ns=spoken.start_ns + shift_ns, end_ns=spoken.end_ns + shift_ns
        )
        log_ns = max(moved.start_ns, moved.end_ns)
        yield _Timed(log_ns, WORDS_TOPIC, build.word(moved, settings.frame_id))


def _shown_pictures(narrative: Narrative, images: Path) -> list[tuple[int, Path]]:
    """From which time on which picture was shown; in order of time."""
    changes: list[tuple[int, Path]] = []
    for stroke in sorted(narrative.strokes, key=lambda stroke: stroke[0].time_ns):
        name = narrative.media_id
        if narrative.keyframes:
            name = f"{name}/{narrative.keyframes[stroke[0].keyframe]}"
        path = find_picture(images, narrative.dataset_id, name)
        if not changes or changes[-1][1] != path:
            changes.append((stroke[0].time_ns, path))
    return changes


def _pictures(
    shown: list[tuple[int, Path]],
    first_ns: int,
    last_ns: int,
    shift_ns: int,
    settings: BagSettings,
) -> Iterator[_Timed]:
    """The picture of each moment, again and again, a little past the end: the last readings too
    belong to a frame."""
    step_ns = round(1e9 / settings.picture_hz)
    for time_ns in range(first_ns, last_ns + 2 * step_ns, step_ns):
        path = next((path for since, path in reversed(shown) if since <= time_ns), shown[0][1])
        stamp = time_ns + shift_ns
        message = build.picture_file(path, stamp, settings.frame_id)
        yield _Timed(stamp, IMAGE_TOPIC, message)
