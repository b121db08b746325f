"""What a text describes in a picture, found in PyTorch as the robot does it with the graphs
(``engine.runtime.model_engine``)."""

import torch
from tokenizers import Tokenizer

from tracevlm_ros.core.strokes import as_prompt, stroke_in
from tracevlm_ros.core.types import FloatArray, Image
from training.data.batch import trace_batch
from training.data.worded import token_rows
from training.generation import unspoken_masks
from training.model.tracevlm import TraceVLM
from training.model.vision import VisionFeatures
from training.tokenizer import encode_words


@torch.no_grad()
def find_described(
    model: TraceVLM, image_rgb: Image, texts: list[str], tokenizer: Tokenizer
) -> list[FloatArray | None]:
    """A stroke (K, 2) in 0..1 over what each text describes in ``image_rgb``, which has the model's
    size; None where nothing fits. For a model with a word map."""
    assert model.word_map is not None
    features = model.encode(torch.from_numpy(image_rgb)[None])
    rows = [encode_words(tokenizer, text) for text in texts]
    ids, valid = (torch.from_numpy(a) for a in token_rows(rows, model.config.words.most_words))
    maps = model.word_map(features.deep, features.shallow, ids, valid).numpy()
    return [_within_mask(model, features, stroke_in(shown)) for shown in maps]


def _within_mask(
    model: TraceVLM, features: VisionFeatures, points: FloatArray | None
) -> FloatArray | None:
    """The stroke drawn anew inside the mask that it asks for."""
    if points is None:
        return None
    slots = model.config.tvp.max_keypoints
    batch = trace_batch([as_prompt(points, slots)], slots)
    grounded = model.ground(features.tokens, batch)
    within = stroke_in(unspoken_masks(model, features, grounded, batch)[0].numpy())
    return points if within is None else within
