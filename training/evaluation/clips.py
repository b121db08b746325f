"""Strokes on the first frames of clips in DAVIS form."""

import json
from pathlib import Path

import cv2
import numpy as np

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.preprocess import fit_image
from training.data.photos_on_disk import read_photo
from training.data.sample import TraceTarget
from training.evaluation.closer import look_closer
from training.evaluation.judging import Judge, judge, mask_scores
from training.evaluation.scores import ClipScores


def evaluate_first_frames(judging: Judge, folder: Path) -> ClipScores:
    """``strokes.json``: clip -> {"frame": name, "stroke_xyt": [[x, y, t], ...]} in pixels of
    JPEGImages/CLIP/NAME.jpg; the truth is what is not 0 in Annotations/CLIP/NAME.png.

    Raises InputError naming a file that cannot be read.
    """
    strokes = json.loads((folder / "strokes.json").read_text(encoding="utf-8"))
    found = {}
    for clip, stroke in sorted(strokes.items()):
        image = read_photo(folder / "JPEGImages" / clip / f"{stroke['frame']}.jpg")
        target = TraceTarget(np.array(stroke["stroke_xyt"], np.float64))
        prompts = [judging.prompt(target, (image.shape[0], image.shape[1]))]
        [described] = judging.describe(fit_image(image, (judging.side, judging.side)), prompts)
        closer = look_closer(judging, image, prompts[0])
        found[clip] = judge(described, _read_mask(folder, clip, stroke["frame"]), closer)
    return ClipScores(
        clips=len(found),
        masks=mask_scores(list(found.values())),
        per_clip={clip: one.iou for clip, one in found.items()},
    )


def _read_mask(folder: Path, clip: str, frame: str) -> np.ndarray:
    path = folder / "Annotations" / clip / f"{frame}.png"
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise InputError(f"{path} cannot be read as a picture")
    return np.asarray(picture > 0)
