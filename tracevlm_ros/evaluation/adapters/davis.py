"""DAVIS-2016 clips with one stroke on the first frame.

``JPEGImages/<clip>/*.jpg`` and ``Annotations/<clip>/*.png`` (or both below ``480p/``), and
``strokes.json``: clip -> {"stroke_xyt": [[x, y, t], ...]}, pixels of the first frame and seconds.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import FloatArray
from tracevlm_ros.evaluation.adapters.case import Case, clip_stamp_ns, mask_png, stroke_then_clip
from tracevlm_ros.evaluation.adapters.pictures import read_mask, read_rgb
from tracevlm_ros.evaluation.ground_truth import GroundTruth
from tracevlm_ros.evaluation.recording import Sample

RATE_HZ = 24.0


class DavisClip(NamedTuple):
    """``stroke_xyt`` (N, 3); ``frames[i]`` belongs to ``masks[i]``."""

    name: str
    stroke_xyt: FloatArray
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


def read_davis(folder: Path) -> list[DavisClip]:
    """Every clip that has a stroke, by name. Raises InputError when something is missing."""
    path = folder / "strokes.json"
    try:
        strokes = json.loads(path.read_text(encoding="utf-8"))
        return [
            _clip(folder, name, np.asarray(stroke["stroke_xyt"], dtype=np.float64))
            for name, stroke in sorted(strokes.items())
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} gives no strokes ({error!r}); it maps clips to 'stroke_xyt': [[x, y, t], ...]"
        ) from error


def davis_cases(folder: Path) -> Iterator[Case]:
    """Each clip as a recording; the truth of the frames from the second to the last but one."""
    for clip in read_davis(folder):
        stamps = [clip_stamp_ns(clip.stroke_xyt, i, RATE_HZ) for i in range(len(clip.frames))]
        inner = range(1, len(clip.frames) - 1)
        pngs = {stamps[i]: mask_png(read_mask(clip.masks[i])) for i in inner}
        yield Case(
            clip.name,
            partial(_play, clip),
            GroundTruth((), pngs),
        )


def _play(clip: DavisClip) -> Iterator[Sample]:
    return stroke_then_clip(map(read_rgb, clip.frames), clip.stroke_xyt, RATE_HZ)


def _clip(folder: Path, name: str, stroke_xyt: FloatArray) -> DavisClip:
    below = "480p/" if (folder / "JPEGImages" / "480p").is_dir() else ""
    frames = tuple(sorted((folder / f"JPEGImages/{below}{name}").glob("*.jpg")))
    masks = tuple(folder / f"Annotations/{below}{name}/{path.stem}.png" for path in frames)
    missing = [mask for mask in masks if not mask.is_file()]
    if len(frames) < 3 or missing:
        raise InputError(
            f"clip '{name}' in {folder} has {len(frames)} frames and lacks {len(missing)} masks; "
            "DAVIS needs at least 3 frames, each with its mask"
        )
    if stroke_xyt.ndim != 2 or stroke_xyt.shape[1] != 3 or len(stroke_xyt) == 0:
        raise InputError(f"stroke of '{name}' is {stroke_xyt.shape}; it must be (N >= 1, 3)")
    return DavisClip(name, stroke_xyt, frames, masks)
