"""``L = L_txt + 2 L_ref + 0.5 L_dice`` (METHOD.md) and the auxiliary loss per patch."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tracevlm_ros.core.settings import require_range
from training.model.patch_heads import IGNORED


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """Weights of the terms; the paper has text 1, ref 2, dice 0.5 and no labels per patch or
    trace."""

    text: float = 1.0
    ref: float = 2.0
    dice: float = 0.5
    patch: float = 1.0
    trace: float = 0.5
    claimed_twice: float = 2.0

    def __post_init__(self) -> None:
        for name in ("text", "ref", "dice", "patch", "trace", "claimed_twice"):
            require_range(name, getattr(self, name), 0.0, 1000.0)


def text_loss(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of ``targets`` (R, L) under tied output embeddings, where not IGNORED."""
    learned = targets != IGNORED
    return F.cross_entropy(hidden[learned] @ table.T, targets[learned])


def ref_loss(logits: Tensor, masks: Tensor, image_index: Tensor, claimed_twice: float) -> Tensor:
    """Mean BCE; pixels that two or more targets of one image claim weigh ``claimed_twice``.

    Two traces over the same object claim its pixels once.
    """
    claims = masks.new_zeros(int(image_index.max()) + 1, *masks.shape[1:])
    for image in range(len(claims)):
        own = masks[image_index == image].round()
        if len(own):
            claims[image] = torch.unique(own.flatten(1), dim=0).sum(0).view_as(claims[image])
    weight = 1.0 + (claimed_twice - 1.0) * (claims[image_index] >= 2).float()
    return F.binary_cross_entropy_with_logits(logits, masks, weight)


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - DICE per mask, inputs divided by 1000, eps 1e-6, mean over masks."""
    shown = logits.sigmoid().flatten(1) / 1000.0
    wanted = masks.flatten(1) / 1000.0
    both = (shown * masks.flatten(1)).sum(1)
    score = (2.0 * both + 1e-6) / (shown.sum(1) + wanted.sum(1) + 1e-6)
    return (1.0 - score).mean()


def label_loss(
    logits: dict[str, Tensor], labels: dict[str, Tensor], weights: dict[str, Tensor]
) -> Tensor:
    """Labels per patch (B, classes, g, g) or per trace (T, classes).

    Sum over label groups of class-weighted cross-entropy; groups without a label add nothing.
    """
    total = next(iter(labels.values())).new_zeros((), dtype=torch.float32)
    for group, planes in logits.items():
        if (labels[group] != IGNORED).any():
            total = total + F.cross_entropy(
                planes, labels[group], weight=weights.get(group), ignore_index=IGNORED
            )
    return total
