"""Traces drawn while speaking: Localized Narratives and Video Localized Narratives (JSON lines).

Places are 0..1 of the image and may lie outside. Times are nanoseconds from the start of the voice
recording, negative before it. Known defects of the data are passed on as they are: narratives
without a trace, words of no length, several words in one.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample, PenState, Word
from tracevlm_ros.ingest.scene_pixels import from_normalised

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


class TracePoint(NamedTuple):
    """``keyframe`` counts the keyframes of a video; 0 for stills."""

    time_ns: int
    x: float
    y: float
    keyframe: int


class Narrative(NamedTuple):
    """What one person said and drew about one image, or about one actor of a video.

    ``media_id`` names the image or video, ``keyframes`` its keyframes (videos only); ``strokes``
    are split where the pointer left the image or the keyframe changed.
    """

    dataset_id: str
    media_id: str
    annotator_id: str
    actor: str
    caption: str
    keyframes: tuple[str, ...]
    words: tuple[Word, ...]
    strokes: tuple[tuple[TracePoint, ...], ...]


def is_narratives(path: Path) -> bool:
    """Whether the first line of ``path`` is a narrative of either kind."""
    if not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and ("traces" in first or "actor_narratives" in first)


def read_narratives(path: Path) -> Iterator[Narrative]:
    """Every narrative of the file. Raises InputError naming the line that cannot be read."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                found = list(_of_record(record))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path} line {number} is no narrative: {error!r}; download the file again"
                ) from error
            yield from found


def find_picture(images: Path, dataset_id: str, name: str) -> Path:
    """``images/[data set/]<name>.jpg``, ``.jpeg`` or ``.png``; InputError when there is none."""
    stems = (images / dataset_id / name, images / name)
    for stem, suffix in itertools.product(stems, PICTURE_SUFFIXES):
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    known = ", ".join(PICTURE_SUFFIXES)
    raise InputError(f"there is no picture {stems[0]} ({known}); set the folder of the pictures")


def read_gaze(path: Path, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """The strokes of the first narrative that has any, as pointer readings."""
    for narrative in read_narratives(path):
        if narrative.strokes:
            return pointer_samples(narrative, size_hw)
    raise InputError(f"{path} holds no narrative with a trace; choose another file")


def pointer_samples(narrative: Narrative, size_hw: tuple[int, int]) -> Iterator[GazeSample]:
    """Readings with the pen down; each stroke ends by a reading at its last place, pen up."""
    for stroke in narrative.strokes:
        for point in stroke:
            x, y = from_normalised(point.x, point.y, size_hw)
            yield GazeSample(point.time_ns, x, y, 1.0, PenState.DOWN)
        x, y = from_normalised(stroke[-1].x, stroke[-1].y, size_hw)
        yield GazeSample(stroke[-1].time_ns + 1, x, y, 1.0, PenState.UP)


def _of_record(record: dict[str, Any]) -> Iterator[Narrative]:
    if "actor_narratives" in record:
        for actor in record["actor_narratives"]:
            yield _of_actor(record, actor)
    else:
        yield _of_still(record)


def _of_still(record: dict[str, Any]) -> Narrative:
    return Narrative(
        dataset_id=str(record["dataset_id"]),
        media_id=str(record["image_id"]),
        annotator_id=str(record["annotator_id"]),
        actor="",
        caption=record["caption"],
        keyframes=(),
        words=tuple(
            Word(word["utterance"], _seconds(word["start_time"]), _seconds(word["end_time"]))
            for word in record["timed_caption"]
        ),
        strokes=tuple(
            tuple(TracePoint(_seconds(p["t"]), float(p["x"]), float(p["y"]), 0) for p in stroke)
            for stroke in record["traces"]
            if stroke
        ),
    )


def _of_actor(record: dict[str, Any], actor: dict[str, Any]) -> Narrative:
    start_ms = int(actor["recording_start_time_ms_since_epoch"])
    return Narrative(
        dataset_id=str(record["dataset_id"]),
        media_id=str(record["video_id"]),
        annotator_id=str(record["annotator_id"]),
        actor=str(actor["actor_name"]),
        caption=actor["caption"],
        keyframes=tuple(record["keyframe_names"]),
        words=tuple(
            Word(
                word["referenced_word"],
                int(word["start_ms"]) * 1_000_000,
                int(word["end_ms"]) * 1_000_000,
            )
            for word in actor["time_alignment"]
        ),
        strokes=tuple(part for stroke in actor["traces"] for part in _parts(stroke, start_ms)),
    )


def _parts(stroke: list[dict[str, Any]], start_ms: int) -> Iterator[tuple[TracePoint, ...]]:
    """The stroke, cut where its keyframe changes: there the picture under it jumps."""
    part: list[TracePoint] = []
    for raw in stroke:
        time_ns = (int(raw["time_ms_since_epoch"]) - start_ms) * 1_000_000
        point = TracePoint(time_ns, float(raw["x"]), float(raw["y"]), int(raw["kf_idx"]))
        if part and part[-1].keyframe != point.keyframe:
            yield tuple(part)
            part = []
        part.append(point)
    if part:
        yield tuple(part)


def _seconds(value: float) -> int:
    return round(float(value) * 1_000_000_000)
