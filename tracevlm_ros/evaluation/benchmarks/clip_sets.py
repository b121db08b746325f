"""Clips with a mask for every frame and a stroke on the first one, from three sources.

``davis``: real video. ``synthetic``: the drawn world of ``tracevlm_ros.synthetic``. ``cutouts``:
things cut out of photos, deforming before other photos. Settings chosen on one set alone do not
count until the others agree.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, Image
from tracevlm_ros.evaluation.adapters.coco_instances import region_mask
from tracevlm_ros.evaluation.adapters.davis import DavisClip
from tracevlm_ros.evaluation.adapters.pictures import read_mask, read_rgb
from tracevlm_ros.synthetic.attention import scribble
from tracevlm_ros.synthetic.clip import Clip, ClipConfig
from tracevlm_ros.synthetic.cutout_clip import CutoutClip
from tracevlm_ros.synthetic.scene import BACKGROUNDS

_FIRST_SEED = 100
_SECONDS = 4.0
_LEAST_SHARE = 0.01
_SEEN_SHARE = 0.003
_AREA_SHARES = (0.06, 0.3)
_MARGIN_PX = 5


class ClipToFollow(NamedTuple):
    """``stroke_xyt`` (N, 3) on the first of ``frames``; ``truths[i]`` (H, W) of ``frames[i]``."""

    name: str
    stroke_xyt: FloatArray
    frames: Sequence[Image]
    truths: Sequence[BoolArray]


def of_davis(clip: DavisClip) -> ClipToFollow:
    """A clip of DAVIS, read."""
    return ClipToFollow(
        clip.name,
        clip.stroke_xyt,
        [read_rgb(path) for path in clip.frames],
        [read_mask(path) for path in clip.masks],
    )


def synthetic_clips(count: int) -> Iterator[ClipToFollow]:
    """``count`` clips of 60 frames at 640x480, each about one moving object; always the same."""
    seed = _FIRST_SEED
    while count > 0:
        seed += 1
        config = ClipConfig(
            seed=seed, seconds=_SECONDS, motion=0.35, pan=0.2,
            background=BACKGROUNDS[seed % len(BACKGROUNDS)],
        )  # fmt: skip
        clip = Clip(config)
        frames = list(clip.frames())
        chosen = _worth_following(clip, [frame.labels for frame in frames])
        if chosen:
            count -= 1
            label = chosen[seed % len(chosen)]
            truths = [frame.labels == label for frame in frames]
            stroke = scribble(truths[0], np.random.default_rng(seed))
            images = [frame.image_rgb for frame in frames]
            yield ClipToFollow(f"synthetic_{seed}", stroke, images, truths)


def _worth_following(clip: Clip, labels: Sequence[Image]) -> list[int]:
    """Labels of the objects that move, start large enough and are seen nearly all the time."""
    found = []
    for index, moving in enumerate(clip.objects):
        shares = np.array([np.mean(frame == index + 1) for frame in labels])
        is_seen = shares[0] > _LEAST_SHARE and np.mean(shares > _SEEN_SHARE) > 0.9
        if is_seen and moving.x.at(0.0) != moving.x.at(_SECONDS / 2):
            found.append(index + 1)
    return found


def cutout_clips(folder: Path, count: int) -> Iterator[ClipToFollow]:
    """``count`` clips of 60 frames at 640x360, each of another category where there are enough.

    ``folder`` holds COCO's ``instances.json`` and ``images/``. Raises InputError without them.
    """
    try:
        document = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
        images = {image["id"]: image for image in document["images"]}
        by_category = _whole_things(document["annotations"], images)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no COCO instances with images/: {error!r}") from error
    if not by_category:
        raise InputError(f"{folder}: no single whole object of a fitting size in instances.json")
    categories, grounds = sorted(by_category), document["images"]
    rng = np.random.default_rng(5)
    for seed in range(count):
        things = by_category[categories[(7 * seed) % len(categories)]]
        thing = things[seed % len(things)]
        own, other = images[thing["image_id"]], grounds[int(rng.integers(len(grounds)))]
        clip = CutoutClip(
            photo=read_rgb(folder / "images" / own["file_name"]),
            outline=region_mask(thing["segmentation"], (own["height"], own["width"])),
            ground=read_rgb(folder / "images" / other["file_name"]),
            seed=seed,
        )
        frames = [clip.frame(index) for index in range(clip.frames)]
        truths = [frame.mask for frame in frames]
        stroke = scribble(truths[0], np.random.default_rng(seed))
        pictures = [frame.image_rgb for frame in frames]
        yield ClipToFollow(f"cutout_{seed}", stroke, pictures, truths)


def _whole_things(annotations: list[Any], images: dict[int, Any]) -> dict[int, list[Any]]:
    """Category -> outlines of one piece, of a fitting size, away from the photo's rim."""
    found = defaultdict(list)
    for one in annotations:
        image, (x, y, wide, tall) = images[one["image_id"]], one["bbox"]
        share = one["area"] / (image["width"] * image["height"])
        is_whole = isinstance(one["segmentation"], list) and len(one["segmentation"]) == 1
        is_inside = min(x, y) > _MARGIN_PX and (
            x + wide < image["width"] - _MARGIN_PX and y + tall < image["height"] - _MARGIN_PX
        )
        if is_whole and is_inside and _AREA_SHARES[0] < share < _AREA_SHARES[1]:
            found[one["category_id"]].append(one)
    return dict(found)
