"""Sets that give a region and want words for it: RefCOCO, HC-STVG, VideoRefer-Bench-D.

The region is the input of these tasks, so a stroke scribbled inside it (always the same one) gives
away nothing. For the same reason their masks are no truth here: a mask that was found from a stroke
inside it does not answer "which region do these words mean" (referring segmentation), and is not
scored.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, Image
from tracevlm_ros.evaluation.adapters.case import (
    Case,
    pen_samples,
    play_still,
    stroke_then_clip,
)
from tracevlm_ros.evaluation.adapters.coco_instances import region_mask, still_truth
from tracevlm_ros.evaluation.ground_truth import GroundTruth
from tracevlm_ros.evaluation.recording import Sample
from tracevlm_ros.ingest.video import read_video
from tracevlm_ros.synthetic.attention import scribble

_MAX_CLIP_FRAMES = 64
_CLIP_RATE_HZ = 8.0


class VideoRegion(NamedTuple):
    """An object of a video: its region on frame ``first``, what is said of it, and boxes (x, y, w,
    h) from that frame on where the set has them."""

    name: str
    video: Path
    first: int
    mask: Any
    caption: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()


def refcoco_cases(folder: Path, split: str = "val") -> Iterator[Case]:
    """RefCOCO, + or g as region captioning: ``refs.json``, ``instances.json``, ``images/``.

    ``refs.json`` is the list of the set's ``refs(...).p`` written as JSON (pickles run code when
    they are read, so they are not read here). All sentences of a region are its references.
    """
    refs = _read_json(folder / "refs.json")
    document = _read_json(folder / "instances.json")
    try:
        annotations = {one["id"]: one for one in document["annotations"]}
        images = {one["id"]: one for one in document["images"]}
        for ref in refs:
            if ref["split"] != split:
                continue
            image = images[ref["image_id"]]
            outline = annotations[ref["ann_id"]]["segmentation"]
            mask = region_mask(outline, (image["height"], image["width"]))
            texts = tuple(str(sentence["sent"]) for sentence in ref["sentences"])
            name = f"ref_{ref['ref_id']}"
            pen = pen_samples(_stroke_in(mask, name))
            play = partial(play_still, folder / "images" / image["file_name"], pen)
            yield Case(name, play, still_truth(pen, None, texts))
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder} is no RefCOCO folder: {error!r} is missing") from error


def videorefer_regions(folder: Path) -> Iterator[VideoRegion]:
    """VideoRefer-Bench-D: ``VideoRefer-Bench-D.json`` and the videos it names; the first object
    of each entry, on the first frame that has its mask."""
    path = folder / "VideoRefer-Bench-D.json"
    return _each(path, enumerate(_read_json(path)), partial(_videorefer_region, folder))


def hc_stvg_regions(folder: Path, annotations: str = "test.json") -> Iterator[VideoRegion]:
    """HC-STVG as captioning of a given person: ``videos/`` and a JSON file, video -> boxes (x, y,
    w, h) from ``st_frame`` on, and the sentence (``English`` or ``caption``)."""
    path = folder / annotations
    return _each(path, _read_json(path).items(), partial(_hc_stvg_region, folder))


def _videorefer_region(folder: Path, number: int, entry: Mapping[str, Any]) -> VideoRegion:
    frames: Mapping[str, Any] = entry["annotation"][0]
    first = min(frames, key=int)
    outline = frames[first]["segmentation"]
    name = f"videorefer_{entry.get('id', number)}"
    return VideoRegion(name, folder / entry["video"], int(first), outline, str(entry["caption"]))


def _hc_stvg_region(folder: Path, name: str, entry: Mapping[str, Any]) -> VideoRegion:
    text = str(entry.get("English") or entry["caption"])
    boxes = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in entry["bbox"])
    video, first = folder / "videos" / name, int(entry["st_frame"])
    return VideoRegion(Path(name).stem, video, first, None, text, boxes)


def _each(
    path: Path,
    entries: Iterable[tuple[Any, Mapping[str, Any]]],
    read: Callable[[Any, Mapping[str, Any]], VideoRegion],
) -> Iterator[VideoRegion]:
    """``read`` of each entry; an entry that lacks something is named."""
    key: Any = None
    try:
        for key, entry in entries:
            yield read(key, entry)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: entry {key!r} lacks {error!r}") from error


def video_region_case(region: VideoRegion) -> Case:
    """The video stands on the region's frame while the stroke is drawn, then runs on for up to 8 s
    at 8 frames/s.

    Raises InputError for a video that ends before the region's frame.
    """
    frames = _frames_from(region)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{region.video} ends before frame {region.first}; download it again")
    size_hw = (first.shape[0], first.shape[1])
    mask = _box(region.boxes[0], size_hw) if region.boxes else region_mask(region.mask, size_hw)
    stroke = _stroke_in(mask, region.name)
    pen = pen_samples(stroke)
    visits = still_truth(pen, None, (region.caption,)).visits
    return Case(region.name, partial(_play_video, region, stroke), GroundTruth(visits, {}))


def video_cases(regions: Iterator[VideoRegion]) -> Iterator[Case]:
    """Each region as a recording."""
    return map(video_region_case, regions)


def _play_video(region: VideoRegion, stroke: np.ndarray) -> Iterator[Sample]:
    yield from stroke_then_clip(_frames_from(region), stroke, _CLIP_RATE_HZ)


def _frames_from(region: VideoRegion) -> Iterator[Image]:
    """Frames from the region's on, thinned to the clip's rate by their stamps."""
    due_ns: int | None = None
    given = 0
    for index, frame in enumerate(read_video(region.video)):
        if index < region.first or (due_ns is not None and frame.stamp_ns < due_ns):
            continue
        due_ns = (frame.stamp_ns if due_ns is None else due_ns) + round(1e9 / _CLIP_RATE_HZ)
        given += 1
        yield frame.image_rgb
        if given == _MAX_CLIP_FRAMES:
            return


def _box(xywh: tuple[float, float, float, float], size_hw: tuple[int, int]) -> BoolArray:
    mask = np.zeros(size_hw, dtype=bool)
    x, y, width, height = (round(value) for value in xywh)
    mask[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = True
    return mask


def _stroke_in(mask: BoolArray, name: str) -> np.ndarray:
    """The stroke that ``name`` always gets."""
    return scribble(mask, np.random.default_rng(zlib.crc32(name.encode())))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; docs/benchmarks.md shows it") from error
