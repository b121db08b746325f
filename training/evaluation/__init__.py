"""Scores by free generation on held-out data: scenes of other seeds, strokes and captions of other
photos."""

from pathlib import Path
from typing import NamedTuple

from training.checkpoint import load_checkpoint
from training.evaluation.captioned import evaluate_captions
from training.evaluation.clips import evaluate_first_frames
from training.evaluation.judging import Judge
from training.evaluation.located import evaluate_located, evaluate_located_photos
from training.evaluation.photos import evaluate_strokes
from training.evaluation.scores import Scores
from training.evaluation.synthetic import evaluate_synthetic
from training.tokenizer import load_tokenizer, prompt_layout
from training.trained_model import trained_model

__all__ = [
    "HeldOut",
    "Judge",
    "evaluate_captions",
    "evaluate_checkpoint",
    "evaluate_first_frames",
    "evaluate_located",
    "evaluate_located_photos",
    "evaluate_strokes",
    "evaluate_synthetic",
]


class HeldOut(NamedTuple):
    """``scenes`` synthetic ones; ``strokes`` a folder of photos, ``clips`` one in DAVIS form, both
    with strokes.json, ``captions`` a folder of photos with captions.json, where given."""

    scenes: int
    strokes: Path | None = None
    clips: Path | None = None
    captions: Path | None = None


def evaluate_checkpoint(path: Path, data: HeldOut, shuffled: bool = False) -> list[Scores]:
    """Load ``path`` and score it on each part of ``data``; ``shuffled``: see ``Judge``.

    Where the run of ``path`` learned to locate, objects of the scenes are searched for, too;
    ``shuffled`` would change nothing there.
    """
    checkpoint = load_checkpoint(path)
    model = trained_model(checkpoint)
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    judging = Judge(model, tokenizer, layout, shuffled)
    scores: list[Scores] = [evaluate_synthetic(judging, data.scenes)]
    if checkpoint.locates and not shuffled:
        scores.append(evaluate_located(judging, data.scenes))
    if data.strokes is not None:
        scores.append(evaluate_strokes(judging, data.strokes))
        if checkpoint.maps_words and not shuffled:
            scores.append(evaluate_located_photos(judging, data.strokes))
    if data.clips is not None:
        scores.append(evaluate_first_frames(judging, data.clips))
    if data.captions is not None:
        scores.append(evaluate_captions(judging, data.captions))
    return scores
