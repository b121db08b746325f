"""Captions of whole photos that training never saw, against those of people."""

import json
from pathlib import Path

import numpy as np

from tracevlm_ros.core.answers import parse_text
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.preprocess import fit_image
from tracevlm_ros.evaluation.metrics.cider import cider_d
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize
from training.data.photos_on_disk import read_instances, read_photo
from training.data.templates import Task
from training.evaluation.judging import Judge
from training.evaluation.scores import CaptionScores


def evaluate_captions(judging: Judge, folder: Path) -> CaptionScores:
    """``captions.json`` of a held-out folder: image id -> captions of people; the photos are those
    of ``instances.json``.

    Raises InputError naming a file that cannot be read or an image that is not there.
    """
    references = _read_captions(folder)
    names = {str(image["id"]): image["file_name"] for image in read_instances(folder)["images"]}
    said = []
    for image_id in references:
        if image_id not in names:
            raise InputError(f"{folder}: captions.json has image {image_id}, instances.json not")
        image = read_photo(folder / "images" / names[image_id])
        tokens = judging.look(fit_image(image, (judging.side, judging.side)))
        said.append(parse_text(judging.answer(tokens, Task.IMAGE_CAPTION)))
    candidates = [tokenize(one.text) for one in said]
    truths = [[tokenize(text) for text in group] for group in references.values()]
    return CaptionScores(
        pictures=len(said),
        cider_d=float(np.mean(cider_d(candidates, truths))),
        distinct=len({one.text for one in said}) / len(said),
        format_failures=float(np.mean([bool(one.problems) for one in said])),
    )


def _read_captions(folder: Path) -> dict[str, list[str]]:
    path = folder / "captions.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no captions; give image id -> list of captions")
    return {str(image_id): [str(text) for text in texts] for image_id, texts in content.items()}
