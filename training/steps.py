"""One training step of each stage: batch in, loss terms out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.data.batch import Batch, WordBatch
from training.losses import LossConfig, dice_loss, label_loss, ref_loss, text_loss
from training.model.codebook import SCALES, TOKENS_PER_SCALE
from training.model.tracevlm import TraceVLM
from training.model.tvp import Grounded
from training.model.vision import VisionFeatures

Terms = dict[str, Tensor]
_REF_OF_WORDS = 4.0


def vision_terms(
    model: TraceVLM, image: Tensor, labels: dict[str, Tensor], weights: dict[str, Tensor]
) -> Terms:
    """Loss per patch of images alone."""
    return {"patch": label_loss(model.patch_heads(model.encode(image).deep), labels, weights)}


def grounding_terms(
    model: TraceVLM, batch: Batch, config: LossConfig, weights: dict[str, Tensor]
) -> Terms:
    """Masks and labels, before the language model has a say: ref, dice, patch, trace."""
    features = model.encode(batch.image)
    grounded = model.ground(features.tokens[batch.image_index], batch.trace)
    masks = _mask_terms(model, batch, features, grounded, _silence(grounded), config)
    return {**masks, **_label_terms(model, batch, features, grounded, config, weights)}


def joint_terms(
    model: TraceVLM, batch: Batch, config: LossConfig, weights: dict[str, Tensor]
) -> Terms:
    """All terms, already weighted: text, told (where anything is), ref, dice, patch, trace."""
    features = model.encode(batch.image)
    grounded = model.ground(features.tokens[batch.image_index], batch.trace)
    hidden = model.read(grounded, batch.prompt, features.tokens)
    traced = len(batch.prompt.trace_index)
    columns = batch.codebook_columns[..., None].expand(-1, -1, hidden.shape[-1])
    said = hidden[:traced].gather(1, columns)
    spoken = _silence(grounded).to(said.dtype).index_copy(0, batch.prompt.trace_index, said)
    table = model.model.embed_tokens.weight
    words = {"text": config.text * text_loss(hidden[:traced], table, batch.targets[:traced])}
    if len(batch.prompt.image_index):
        told = text_loss(hidden[traced:], table, batch.targets[traced:])
        words["told"] = config.told * told
    return {
        **words,
        **_mask_terms(model, batch, features, grounded, spoken, config),
        **_label_terms(model, batch, features, grounded, config, weights),
    }


def word_terms(model: TraceVLM, batch: WordBatch) -> Terms:
    """What texts describe, from an encoder that stays as it is: ref, dice."""
    assert model.word_map is not None
    with torch.no_grad():
        features = model.encode(batch.image)
    index = batch.image_index
    logits = model.word_map(
        features.deep[index], features.shallow[index], batch.ids, batch.valid
    ).float()
    described = batch.masks.flatten(1).amax(1) > 0
    ref = F.binary_cross_entropy_with_logits(logits, batch.masks)
    return {
        "ref": _REF_OF_WORDS * ref,
        "dice": dice_loss(logits[described], batch.masks[described]),
    }


def _silence(grounded: Grounded) -> Tensor:
    """Segmentation embeddings (T, 6, D) of traces without a word."""
    count, width = grounded.trace.shape[0], grounded.trace.shape[-1]
    return grounded.trace.new_zeros(count, SCALES * TOKENS_PER_SCALE, width)


def _mask_terms(
    model: TraceVLM,
    batch: Batch,
    features: VisionFeatures,
    grounded: Grounded,
    seg_embeddings: Tensor,
    config: LossConfig,
) -> Terms:
    index = batch.image_index
    logits = model.segment(features, index, grounded, batch.trace, seg_embeddings, batch.prior)
    return {
        "ref": config.ref * ref_loss(logits.float(), batch.masks, index, config.claimed_twice),
        "dice": config.dice * dice_loss(logits.float(), batch.masks),
    }


def _label_terms(
    model: TraceVLM,
    batch: Batch,
    features: VisionFeatures,
    grounded: Grounded,
    config: LossConfig,
    weights: dict[str, Tensor],
) -> Terms:
    terms = {}
    if config.patch > 0:
        patches = model.patch_heads(features.deep)
        terms["patch"] = config.patch * label_loss(patches, batch.patch_labels, weights)
    if config.trace > 0:
        said = model.trace_heads(grounded.trace, batch.trace.valid)
        terms["trace"] = config.trace * label_loss(said, batch.trace_labels, weights)
    return terms


def total(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
