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
    trace. ``told`` is text about pictures without a trace."""

    text: float = 1.0
    told: float = 1.0
    ref: float = 2.0
    dice: float = 0.5
    patch: float = 1.0
    trace: float = 0.5
    claimed_twice: float = 2.0

    def __post_init__(self) -> None:
        for name in ("text", "told", "ref", "dice", "patch", "trace", "claimed_twice"):
            require_range(name, getattr(self, name), 0.0, 1000.0)


def text_loss(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of ``targets`` (R, L) under tied output embeddings, where not IGNORED; 0 where
    all are."""
    if hidden.is_cuda:  # Choosing rows would wait for the GPU.
        hidden, targets = hidden.flatten(0, 1), targets.flatten()
    else:
        learned = targets != IGNORED
        hidden, targets = hidden[learned], targets[learned]
    return _mean_over_labelled(hidden @ table.T, targets)


def _mean_over_labelled(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted mean of the cross-entropy where labels are not IGNORED; 0 where all are."""
    loss = F.cross_entropy(logits, labels, weight, ignore_index=IGNORED, reduction="sum")
    known = labels != IGNORED
    shares = known.float() if weight is None else weight[labels.clamp(min=0)] * known
    return loss / shares.sum().clamp(min=1e-6)


def ref_loss(logits: Tensor, masks: Tensor, image_index: Tensor, claimed_twice: float) -> Tensor:
    """Mean BCE; pixels that two or more targets of one image claim weigh ``claimed_twice``.

    Two traces over the same object claim its pixels once.
    """
    with torch.autocast(masks.device.type, enabled=False):
        claimed = masks.float().round().flatten(1)
        neighbours = image_index[:, None] == image_index[None]
        area, common = claimed.sum(1), claimed @ claimed.T
        alike = neighbours & (common == area[:, None]) & (common == area[None])
        counted = ~alike.tril(-1).any(1)
        claims = (neighbours & counted[None]).float() @ claimed
    weight = 1.0 + (claimed_twice - 1.0) * (claims >= 2).float().view_as(masks)
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
    terms = [
        _mean_over_labelled(planes, labels[group], weights.get(group))
        for group, planes in logits.items()
    ]
    return torch.stack(terms).sum()
