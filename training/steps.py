"""One training step of each stage: batch in, loss terms out."""

import torch
from torch import Tensor

from training.data.batch import Batch
from training.losses import LossConfig, dice_loss, patch_loss, ref_loss, text_loss
from training.model.tracevlm import TraceVLM

Terms = dict[str, Tensor]


def vision_terms(
    model: TraceVLM, image: Tensor, labels: dict[str, Tensor], weights: dict[str, Tensor]
) -> Terms:
    """Loss per patch of images alone."""
    return {"patch": patch_loss(model.patch_heads(model.encode(image).deep), labels, weights)}


def joint_terms(
    model: TraceVLM, batch: Batch, config: LossConfig, weights: dict[str, Tensor]
) -> Terms:
    """All terms, already weighted: text, ref, dice, patch."""
    features = model.encode(batch.image)
    grounded = model.ground(features.tokens[batch.image_index], batch.trace)
    hidden = model.read(grounded, batch.prompt)
    columns = batch.codebook_columns[..., None].expand(-1, -1, hidden.shape[-1])
    logits = model.segment(
        features, batch.image_index, grounded, batch.trace.valid, hidden.gather(1, columns)
    )
    table = model.model.embed_tokens.weight
    terms = {
        "text": config.text * text_loss(hidden, table, batch.targets),
        "ref": config.ref * ref_loss(logits, batch.masks, batch.image_index, config.claimed_twice),
        "dice": config.dice * dice_loss(logits, batch.masks),
    }
    if config.patch > 0:
        patches = model.patch_heads(features.deep)
        terms["patch"] = config.patch * patch_loss(patches, batch.patch_labels, weights)
    return terms


def total(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()
